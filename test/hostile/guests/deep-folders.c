#include "hostile.h"

/* Folders in folders, each opened from the one before: no path is ever long. */
void _start(void) {
  u32 at = top, next, number = 0, depth = 0;
  for (; depth < 1000000; depth++) {
    if ((number = path_create_directory(at, P("d")))) break;
    if ((number = open_at(at, P("d"), directory, folder_rights, &next))) break;
    if (at != top) fd_close(at);
    at = next;
  }
  say_number(depth), say(" deep, then "), say_errno(number), put('\n');
  everywhere_at(at, P("../x"));
  report("move the first into the last", path_rename(top, P("d"), at, P("d")));
}
