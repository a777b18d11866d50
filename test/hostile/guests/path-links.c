#include "hostile.h"

static void link_to(const char *target, const char *name) {
  say(name), say(" -> ");
  report(target, path_symlink(target, length_of(target), top, name, length_of(name)));
}
static void read_by(const char *path) {
  u32 fd = 0;
  say(path), say(": ");
  u32 number = open_at(top, path, length_of(path), 0, read_rights, &fd);
  if (number) say_errno(number);
  else say_file(fd), fd_close(fd);
  put('\n');
}
/* Links that lead out when they are followed, whatever they look like when they are made. */
void _start(void) {
  path_create_directory(top, P("a"));
  path_create_directory(top, P("a/b"));
  link_to("/secret", "absolute");
  link_to("/etc/passwd", "host");
  link_to("../secret", "up");
  link_to("a/b", "deep");
  link_to("../../secret", "a/b/out");
  link_to("../../..", "a/b/top");
  link_to("a/../../secret", "around");
  link_to("up", "chain");
  link_to(".", "here");
  link_to("..", "a/parent");
  read_by("absolute");
  read_by("host");
  read_by("up");
  read_by("chain");
  read_by("around");
  read_by("a/b/out");
  read_by("a/b/top/secret");
  read_by("deep/../../secret");
  read_by("deep/../../in");
  read_by("a/parent/in");
  read_by("a/parent/../secret");
  read_by("here/here/here/../secret");
  read_by("here/here/here/in");
  /* Creating through a dangling link must not create outside. */
  u32 fd = 0;
  report("create by up", open_at(top, P("up"), creat | trunc, all_rights, &fd));
  report("mkdir by up", path_create_directory(top, P("up")));
  report("stat of up itself", path_filestat_get(top, 0, P("up"), line + 8192));
}
