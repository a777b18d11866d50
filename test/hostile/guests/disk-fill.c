#include "hostile.h"

/* Fills one file; then files without a name, whose bytes nobody could find. */
static char block[65536];
void _start(void) {
  u32 fd = make_file("f", ""), done, number, count = 0;
  struct { const char *at; u32 size; } vector = {block, sizeof block};
  while (count < 100000 && !(number = fd_write(fd, &vector, 1, &done))) count++;
  say_number(count), say(" blocks, then "), say_errno(number), put('\n');
  fd_filestat_set_size(fd, 0);
  u32 files = 0;
  do {
    u32 hidden = make_file("hidden", "");
    path_unlink_file(top, P("hidden"));
    for (u32 i = 0; i < 4 && !(number = fd_write(hidden, &vector, 1, &done)); i++) {}
    files++;
  } while (!number && files < 100);
  say_number(files), say(" nameless files, then "), say_errno(number), put('\n');
  for (u32 i = 4; i < 4 + files + 2; i++) fd_close(i);
  fd = make_file("g", "");
  report("after they are closed", fd_write(fd, &vector, 1, &done));
  /* Bytes freed by a truncation are not another file's. */
  u8 found = 0;
  struct { char *at; u32 size; } into = {block, sizeof block};
  fd_filestat_set_size(fd, 1 << 20);
  for (u64 at = 65536; at < 1 << 20; at += 65536) {
    fd_pread(fd, &into, 1, at, &done);
    for (u32 i = 0; i < done; i++) found |= block[i];
  }
  say("bytes of others: "), say_number(found), put('\n');
}
