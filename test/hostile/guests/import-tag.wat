(module (import "wasi_snapshot_preview1" "fd_write" (tag)) (func (export "_start")))
