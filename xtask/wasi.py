"""Runs a program that was compiled for wasm32-wasip1, with its arguments; ends with its exit code. `cargo xtask wasm` calls it."""

import sys

from wasmtime import Engine, ExitTrap, Linker, Module, Store, WasiConfig

engine = Engine()
store = Store(engine)
system = WasiConfig()
system.argv = sys.argv[1:]
system.inherit_stdout()
system.inherit_stderr()
store.set_wasi(system)
linker = Linker(engine)
linker.define_wasi()
program = linker.instantiate(store, Module.from_file(engine, sys.argv[1]))
try:
    program.exports(store)["_start"](store)
except ExitTrap as end:
    sys.exit(end.code)
