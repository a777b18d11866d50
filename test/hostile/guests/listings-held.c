#include "hostile.h"

/* Many open directories, each with a listing of its own of one large directory. */
void _start(void) {
  static char name[5] = "00000", room[100];
  for (u32 i = 0; i < 50000; i++) {
    for (u32 at = 0, rest = i; at < 5; at++, rest /= 10) name[at] = '0' + rest % 10;
    path_create_directory(top, name, 5);
  }
  u32 fd, done, number = 0, count = 0;
  for (; count < 1000 && !open_at(top, P("."), directory, read_rights, &fd); count++)
    if ((number = fd_readdir(fd, room, sizeof room, 0, &done))) break;
  say_number(count), say(" listings, then "), say_errno(number), put('\n');
}
