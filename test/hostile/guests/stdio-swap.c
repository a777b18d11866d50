#include "hostile.h"

/* A file in the place of a standard stream, and the streams in each other's. */
void _start(void) {
  struct { const char *at; u32 size; } vector = {"hidden", 6}, here = {"by 0\n", 5};
  u32 fd = make_file("log", ""), done;
  report("a file over stderr", fd_renumber(fd, 2));
  report("write to stderr", fd_write(2, &vector, 1, &done));
  say("the file "), say_file(2), put('\n');
  report("stdin over the file", fd_renumber(0, 2));
  report("write to stdin", fd_write(2, &vector, 1, &done));
  report("stdin to where it was", fd_renumber(2, 0));
  open_at(top, P("log"), 0, read_rights, &fd);
  report("stdout over a file", fd_renumber(1, fd));
  fd_write(fd, &here, 1, &done);
  if (fd_write(1, &vector, 1, &done) == 0) proc_exit(1);
}
