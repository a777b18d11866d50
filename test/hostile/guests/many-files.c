#include "hostile.h"

/* A million files, folders and links, then as many with other names for them. */
static char name[8] = "f0000000";
static void next(void) {
  for (int i = 7; i > 0; i--) {
    if (++name[i] <= '9') return;
    name[i] = '0';
  }
}
void _start(void) {
  u32 fd, number = 0, count = 0, done[4] = {0};
  for (; count < 4000000; count++, next()) {
    switch (count & 3) {
    case 0: number = open_at(top, name, 8, creat, all_rights, &fd); if (!number) fd_close(fd); break;
    case 1: number = path_create_directory(top, name, 8); break;
    case 2: number = path_symlink(P("x"), top, name, 8); break;
    default: number = path_link(top, 0, P("in"), top, name, 8);
    }
    if (number) break;
    done[count & 3]++;
  }
  say_number(count), say(" names, then "), say_errno(number), put('\n');
  report("one more file", open_at(top, P("more"), creat, all_rights, &fd));
  report("one more folder", path_create_directory(top, P("more")));
  report("one more link", path_symlink(P("x"), top, P("more")));
  report("one more name", path_link(top, 0, P("in"), top, P("more")));
  report("a rename", path_rename(top, P("f0000000"), top, P("more")));
}
