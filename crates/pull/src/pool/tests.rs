mod basic;
mod bytes;
mod fetching;
mod hostile;
mod measure;
mod mesh;
mod model;
mod stranger;
