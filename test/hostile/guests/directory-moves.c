#include "hostile.h"

/* Directories put into themselves, linked to, and moved while something in them is open. */
void _start(void) {
  u32 a, b, fd;
  path_create_directory(top, P("a"));
  path_create_directory(top, P("a/b"));
  path_create_directory(top, P("a/b/c"));
  report("rename a to a/x", path_rename(top, P("a"), top, P("a/x")));
  report("rename a to a/b/c/x", path_rename(top, P("a"), top, P("a/b/c/x")));
  report("rename a to a/b/..", path_rename(top, P("a"), top, P("a/b/..")));
  report("rename . to x", path_rename(top, P("."), top, P("x")));
  report("rename a to .", path_rename(top, P("a"), top, P(".")));
  report("rename a/b over a", path_rename(top, P("a/b"), top, P("a")));
  path_symlink(P("a/b"), top, P("l"));
  report("rename a to l/x", path_rename(top, P("a"), top, P("l/x")));
  report("link a to x", path_link(top, 0, P("a"), top, P("x")));
  report("link a to a/x", path_link(top, 0, P("a"), top, P("a/x")));
  report("link . to x", path_link(top, 0, P("."), top, P("x")));
  report("open a/b", open_at(top, P("a/b"), directory, folder_rights, &b));
  report("move a/b up", path_rename(top, P("a/b"), top, P("b")));
  everywhere_at(b, P("../in"));
  everywhere_at(b, P("../../secret"));
  report("open a", open_at(top, P("a"), directory, folder_rights, &a));
  report("move the top's b into a", path_rename(top, P("b"), a, P("b")));
  report("move a into its own b", path_rename(top, P("a"), b, P("a")));
  report("remove a/b/c", path_remove_directory(b, P("c")));
  report("remove a/b", path_remove_directory(a, P("b")));
  report("create in what was removed", open_at(b, P("ghost"), creat, all_rights, &fd));
  report("up from what was removed", open_at(b, P("../in"), 0, read_rights, &fd));
  report("remove .", path_remove_directory(top, P(".")));
  report("remove a by a/.", path_remove_directory(top, P("a/.")));
  report("unlink a", path_unlink_file(top, P("a")));
}
