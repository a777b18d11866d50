#include "hostile.h"

static void link_to(const char *target, const char *name) {
  path_symlink(target, length_of(target), top, name, length_of(name));
}
/* Links in circles, and links that double the path with each step. */
void _start(void) {
  link_to("self", "self");
  link_to("b", "a"), link_to("c", "b"), link_to("a", "c");
  link_to("tail/x", "tail");
  everywhere("self/x");
  everywhere("a/x");
  everywhere("tail/");
  /* l1 -> l0/l0, l2 -> l1/l1 ...: 2^30 steps for who follows them all. */
  path_create_directory(top, P("l0"));
  char name[3] = "l0", target[6] = "l0/l0";
  for (char i = '1'; i <= '9'; i++) {
    name[1] = i, target[1] = target[4] = i - 1;
    path_symlink(target, 5, top, name, 2);
  }
  everywhere("l9/l9/l9/x");
  u32 fd;
  report("open self", open_at(top, P("self"), 0, read_rights, &fd));
  report("create self", open_at(top, P("self"), creat, all_rights, &fd));
  report("create self, not following", path_open(top, 0, P("self"), creat | excl, all_rights, all_rights, 0, &fd));
  report("unlink self", path_unlink_file(top, P("self")));
}
