//! The build context: what is in the folder that a build sends, under which modes.
