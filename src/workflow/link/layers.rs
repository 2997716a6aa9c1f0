//! The layers of an image that a build has pushed.

use crate::cachefmt::{self, ImageLayer, Kind};
use crate::model::reference::Reference;
use crate::model::request::Request;
use crate::registry::{Client, Error};

/// The image that a build has pushed, by its digest.
pub(super) fn pushed(request: &Request, digest: Option<&str>) -> Option<Reference> {
    let name: Reference = request.tags().first()?.parse().ok()?;
    Some(name.repository().with_digest(&digest?.parse().ok()?))
}

/// The layers of an image of one platform.
pub(in crate::workflow) async fn layers(
    client: &Client,
    image: &Reference,
) -> Result<Vec<ImageLayer>, String> {
    let read = async {
        let mut manifest = client.get_manifest(image).await?;
        if let Ok(Kind::Index { children }) = cachefmt::classify(&manifest.bytes)
            && let [child] = children.as_slice()
        {
            let child = image.repository().with_digest(&child.descriptor.digest);
            manifest = client.get_manifest(&child).await?;
        }
        let config = match cachefmt::classify(&manifest.bytes) {
            Ok(Kind::Image { config }) => {
                client.get_blob(image.repository(), &config.digest, cachefmt::CONFIG_LIMIT as u64).await?
            }
            _ => bytes::Bytes::new(),
        };
        Ok::<_, Error>((manifest, config))
    };
    let (manifest, config) = read.await.map_err(|error| error.to_string())?;
    cachefmt::image_layers(&manifest.bytes, &config).map_err(|error| error.to_string())
}
