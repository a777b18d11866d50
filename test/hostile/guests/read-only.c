#include "hostile.h"

/* Every way to change what was mounted to be read. `ro` holds `f` and `sub/g`. */
void _start(void) {
  u32 fd, done;
  struct { const char *at; u32 size; } vector = {"changed", 7};
  report("open to write", open_at(top, P("ro/f"), 0, all_rights, &fd));
  report("truncate", open_at(top, P("ro/f"), trunc, read_rights, &fd));
  report("create", open_at(top, P("ro/new"), creat, all_rights, &fd));
  report("create deeper", open_at(top, P("ro/sub/new"), creat, all_rights, &fd));
  report("mkdir", path_create_directory(top, P("ro/dir")));
  report("unlink", path_unlink_file(top, P("ro/f")));
  report("rmdir", path_remove_directory(top, P("ro/sub")));
  report("rename out", path_rename(top, P("ro/f"), top, P("f")));
  report("rename the mount", path_rename(top, P("ro"), top, P("rw")));
  report("rename a folder of it", path_rename(top, P("ro/sub"), top, P("sub")));
  make_file("mine", "mine");
  report("rename over", path_rename(top, P("mine"), top, P("ro/f")));
  report("rename into", path_rename(top, P("mine"), top, P("ro/mine")));
  report("symlink into", path_symlink(P("x"), top, P("ro/link")));
  report("link into", path_link(top, 0, P("mine"), top, P("ro/mine")));
  report("times", path_filestat_set_times(top, 0, P("ro/f"), 0, 0, 4));
  /* A second name in a folder that may be written. */
  report("link out", path_link(top, 0, P("ro/f"), top, P("alias")));
  report("write by the second name", open_at(top, P("alias"), 0, all_rights, &fd));
  report("open to read", open_at(top, P("ro/f"), 0, read_rights, &fd));
  report("write to it", fd_write(fd, &vector, 1, &done));
  report("pwrite to it", fd_pwrite(fd, &vector, 1, 0, &done));
  report("set its size", fd_filestat_set_size(fd, 0));
  report("allocate", fd_allocate(fd, 0, 1 << 20));
  report("set its times", fd_filestat_set_times(fd, 0, 0, 4));
  report("more rights", fd_fdstat_set_rights(fd, all_rights, all_rights));
  report("open the folder", open_at(top, P("ro"), directory, folder_rights, &fd));
  report("create in it", open_at(fd, P("new"), creat, all_rights, &done));
  report("set the folder's times", fd_filestat_set_times(fd, 0, 0, 4));
  path_symlink(P("ro/f"), top, P("way"));
  report("write by a link", open_at(top, P("way"), trunc, all_rights, &fd));
  open_at(top, P("ro/f"), 0, read_rights, &fd);
  say("ro/f "), say_file(fd), put('\n');
}
