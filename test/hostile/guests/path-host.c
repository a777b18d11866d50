#include "hostile.h"

/* Names that mean something on the host are names like others here: nothing is behind them. */
void _start(void) {
  static const char *const paths[] = {"proc/self/root/etc/passwd", "dev/stdin", "dev/fd/0", "dev/zero", "sys/kernel",
                                      "etc/passwd", "tmp", "~/.ssh/id_rsa", "$HOME", "%2e%2e/secret", "CON", "NUL", ".git"};
  for (u32 i = 0; i < sizeof paths / sizeof *paths; i++) {
    u32 fd = 0;
    report(paths[i], open_at(top, paths[i], length_of(paths[i]), 0, read_rights, &fd));
  }
  path_symlink(P("../proc/self/fd/0"), top, P("p"));
  everywhere("p/x");
}
