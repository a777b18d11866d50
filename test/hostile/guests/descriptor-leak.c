#include "hostile.h"

/* Opens until the sandbox says no, and then in other ways. */
void _start(void) {
  u32 fd, number = 0, count = 0;
  while (count < 1000000 && !(number = open_at(top, P("in"), 0, read_rights, &fd))) count++;
  say_number(count), say(" files, then "), say_errno(number), put('\n');
  report("a directory", open_at(top, P("."), directory, read_rights, &fd));
  report("a new file", open_at(top, P("new"), creat, all_rights, &fd));
  char stat[64];
  report("the new file was not made", path_filestat_get(top, 0, P("new"), stat));
  report("close one", fd_close(500));
  report("open one", open_at(top, P("in"), 0, read_rights, &fd));
  report("and one more", open_at(top, P("in"), 0, read_rights, &fd));
}
