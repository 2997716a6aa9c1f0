//! What an engine has pushed, as soon as it says so.

use crate::model::event::Event;
use crate::model::reference::Reference;

/// The image that an event tells to be in its registry by now, by name and digest: `pushing manifest for
/// r.io/app:1@sha256:...` (BuildKit `util/push/push.go`, which ends it just so where the push failed). The cache that is
/// exported next is none.
pub fn pushed(event: &Event) -> Option<Reference> {
    let Event::Status { id, completed: true, .. } = event else { return None };
    let image: Reference = id.strip_prefix("pushing manifest for ")?.parse().ok()?;
    image.digest().is_some().then_some(image)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reference::Digest;

    #[test]
    fn an_image_is_pushed_when_its_manifest_is() {
        let digest = Digest::of(b"manifest");
        let told = |id: String, completed| {
            let vertex = "exporting to image".to_owned();
            let event =
                Event::Status { vertex, id, current: 0, total: 0, started: None, at: None, completed };
            pushed(&event).map(|image| image.to_string())
        };
        let pushing = format!("pushing manifest for localhost:5000/a/b:1@{digest}");
        assert_eq!(told(pushing.clone(), false), None);
        assert_eq!(told(pushing, true), Some(format!("localhost:5000/a/b:1@{digest}")));
        for other in ["pushing layers", "pushing manifest for a/b:1", "pushing manifest for a@sha256:x"] {
            assert_eq!(told(other.to_owned(), true), None, "{other}");
        }
    }
}
