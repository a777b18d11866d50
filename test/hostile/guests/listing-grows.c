#include "hostile.h"

/* Reads a directory that gets a file for each entry read, in a buffer for one; and with cookies that it was never given. */
static char room[300];
void _start(void) {
  u32 fd, file, done = 0, number = 0, steps = 0;
  u64 cookie = 0;
  path_create_directory(top, P("list"));
  open_at(top, P("list"), directory, folder_rights, &fd);
  char name[5] = "f0000";
  for (; steps < 5000; steps++) {
    if ((number = fd_readdir(fd, room, 24 + 8, cookie, &done)) || done < 24) break;
    cookie = *(u64 *)room;
    for (int i = 4; i > 0 && ++name[i] > '9'; i--) name[i] = '0';
    if (!open_at(fd, name, 5, creat, all_rights, &file)) fd_close(file);
  }
  say(steps < 5000 ? "ended, " : "still going, "), say_errno(number), put('\n');
  static const u64 cookies[] = {1, 2, 99999, 1ULL << 32, 1ULL << 53, 1ULL << 63, ~0ULL};
  for (u32 i = 0; i < sizeof cookies / sizeof *cookies; i++) {
    say("cookie "), say_number(cookies[i]), say(": ");
    number = fd_readdir(fd, room, sizeof room, cookies[i], &done);
    say_errno(number), say(done ? ", entries\n" : ", nothing\n");
  }
  for (u32 length = 0; length < 26; length += 5) {
    number = fd_readdir(fd, room, length, 0, &done);
    say_number(length), say(" bytes: "), say_errno(number), put(' '), say_number(done), put('\n');
  }
}
