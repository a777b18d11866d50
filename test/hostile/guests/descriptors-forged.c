#include "hostile.h"

/* Descriptors that were never given, of the wrong kind, and preopens closed, moved and covered. */
void _start(void) {
  u32 fd, done;
  char room[64];
  struct { char *at; u32 size; } vector = {room, sizeof room};
  static const u32 numbers[] = {4, 5, 1023, 65535, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffffe};
  for (u32 i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    say_number(numbers[i]), put(' ');
    report("read", fd_read(numbers[i], &vector, 1, &done));
    say_number(numbers[i]), put(' ');
    report("open from", open_at(numbers[i], P("in"), 0, read_rights, &fd));
    say_number(numbers[i]), put(' ');
    report("renumber to", fd_renumber(top, numbers[i]));
  }
  for (u32 i = 0; i < 3; i++) {
    say_number(i), put(' ');
    report("open from", open_at(i, P("in"), 0, read_rights, &fd));
    say_number(i), put(' ');
    report("prestat", fd_prestat_get(i, room));
  }
  report("open a file", open_at(top, P("in"), 0, read_rights, &fd));
  report("open from it", open_at(fd, P("in"), 0, read_rights, &done));
  report("open .. from it", open_at(fd, P("../secret"), 0, read_rights, &done));
  report("its preopen's name", fd_prestat_dir_name(fd, room, sizeof room));
  report("cover the preopen with it", fd_renumber(fd, top));
  report("the preopen's name", fd_prestat_dir_name(top, room, sizeof room));
  report("open from the preopen", open_at(top, P("in"), 0, read_rights, &done));
  report("close the preopen", fd_close(top));
  report("close it again", fd_close(top));
  report("open from nothing", open_at(top, P("in"), 0, read_rights, &done));
  report("close stderr", fd_close(2));
  report("write to it", fd_write(2, &vector, 1, &done));
}
