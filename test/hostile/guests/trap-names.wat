;; Functions with names that look like another stack, an error of ours or a terminal's orders.
(module
  (func $"x (/root/.ssh/id_rsa:1:1)\n    at fake (wasm://wasm/1:wasm-function[7]:0x1)" (unreachable))
  (func $"\1b[2J\1b]0;title\07\r::error::fake" (call 0))
  (func (export "_start") (call 1)))
