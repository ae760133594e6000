mod basic;
mod mesh;
