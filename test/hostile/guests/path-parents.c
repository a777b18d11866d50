#include "hostile.h"

/* Up and out, in every way that `..` can be written. */
void _start(void) {
  path_create_directory(top, P("a"));
  path_create_directory(top, P("a/b"));
  everywhere("../secret");
  everywhere("..");
  everywhere("../");
  everywhere("./../secret");
  everywhere("a/../../secret");
  everywhere("a/b/../../../secret");
  everywhere("a//..///..//secret");
  everywhere("a/./.././../secret");
  everywhere("../d/in");
  everywhere("../../../../../../../../etc/passwd");
  u32 fd;
  report("open a/b", open_at(top, P("a/b"), directory, folder_rights, &fd));
  everywhere_at(fd, P("../../in"));
  everywhere_at(fd, P(".."));
  report("open a/b/..", open_at(top, P("a/b/.."), directory, folder_rights, &fd));
  everywhere_at(fd, P("../in"));
}
