/* What a program sees through its C library: each line is one thing that POSIX says, and what came of it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void say(const char *what, long result) {
  if (result < 0) printf("%s: %s\n", what, strerror(errno));
  else printf("%s: %ld\n", what, result);
}

static long size(const char *path) {
  struct stat found;
  return stat(path, &found) ? -1 : (long)found.st_size;
}

static void put(const char *path, const char *text, int flags) {
  int fd = open(path, O_WRONLY | O_CREAT | flags, 0644);
  if (fd < 0) return say(path, fd);
  say(path, write(fd, text, strlen(text)));
  close(fd);
}

/* Removes a folder and all below it, reading and removing in turn. */
static int removed;
static void clear(const char *path) {
  DIR *dir = opendir(path);
  if (!dir) return;
  struct dirent *entry;
  while ((entry = readdir(dir))) {
    char below[512];
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
    if (entry->d_type == DT_DIR) clear(below);
    else if (!unlink(below)) removed++;
  }
  closedir(dir);
  if (!rmdir(path)) removed++;
}

int main(int argc, char **argv) {
  char buffer[64] = {0};
  struct stat a, b;
  printf("argc %d, %s, %s\n", argc, argv[1], getenv("A"));
  printf("terminals %d %d %d\n", isatty(0), isatty(1), isatty(2));
  say("stdin", read(0, buffer, 8));

  put("/d/new", "0123456789", 0);
  put("/d/new", "AB", O_APPEND);
  put("/d/new", "x", O_EXCL);
  say("appended", size("/d/new"));
  put("/d/new", "short", O_TRUNC);
  say("cut", size("/d/new"));
  say("a folder to write", open("/d/dir", O_WRONLY));
  say("a file as a folder", open("/d/new", O_RDONLY | O_DIRECTORY));
  say("nothing there", open("/d/none", O_RDONLY));
  say("outside", open("/d/../e/../../etc/passwd", O_RDONLY));
  say("by a link that leads out", open("/d/up/secret", O_RDONLY));
  say("a loop", open("/d/loop", O_RDONLY));
  say("a link, not followed", open("/d/link", O_RDONLY | O_NOFOLLOW));

  int fd = open("/d/new", O_RDWR);
  say("seek behind the end", lseek(fd, 20, SEEK_SET));
  say("write there", write(fd, "end", 3));
  say("pread", pread(fd, buffer, 10, 15));
  printf("zeros between: %d %d\n", buffer[0], buffer[4]);
  say("truncate", ftruncate(fd, 3));
  say("its size", size("/d/new"));
  say("unlink while it is open", unlink("/d/new"));
  say("it is gone", size("/d/new"));
  say("it still reads", pread(fd, buffer, 10, 0));
  fstat(fd, &a);
  printf("names left: %d\n", (int)a.st_nlink);
  close(fd);

  put("/d/one", "one", 0);
  put("/d/two", "second", 0);
  say("rename over", rename("/d/one", "/d/two"));
  say("what is there now", size("/d/two"));
  say("rename a folder over a file", rename("/d/hollow", "/d/two"));
  say("rename a file over a folder", rename("/d/two", "/d/hollow"));
  say("rename a folder over one that is full", rename("/d/hollow", "/d/dir"));
  say("rename a folder into itself", rename("/d/dir", "/d/dir/deep/in"));
  say("rename to another preopen", rename("/d/two", "/e/two"));
  say("link", link("/e/two", "/d/three"));
  stat("/e/two", &a);
  stat("/d/three", &b);
  printf("the same file: %d, names %d\n", a.st_ino == b.st_ino, (int)a.st_nlink);
  say("link a folder", link("/d/dir", "/d/dir2"));
  say("symlink", symlink("three", "/d/sym"));
  say("readlink", readlink("/d/sym", buffer, sizeof buffer));
  say("through it", size("/d/sym"));
  lstat("/d/sym", &a);
  printf("it is a link: %d, of %d bytes\n", S_ISLNK(a.st_mode), (int)a.st_size);

  struct timespec times[2] = {{1000, 7}, {2000, 9}};
  say("utimensat", utimensat(AT_FDCWD, "/d/three", times, 0));
  stat("/d/three", &a);
  printf("times %lld.%09ld %lld.%09ld\n", (long long)a.st_atim.tv_sec, a.st_atim.tv_nsec, (long long)a.st_mtim.tv_sec, a.st_mtim.tv_nsec);

  mkdir("/d/many", 0755);
  for (int i = 0; i < 1500; i++) {
    char path[64];
    snprintf(path, sizeof path, "/d/many/%s%d", i % 100 == 0 ? "folder" : "a-name-of-some-length-", i);
    if (i % 100 == 0) mkdir(path, 0755);
    else close(open(path, O_WRONLY | O_CREAT, 0644));
  }
  say("rmdir of a full folder", rmdir("/d/many"));
  clear("/d/many");
  printf("all was removed while it was read: %d\n", removed == 1501 && size("/d/many") < 0);
  say("read-only", open("/r/f", O_WRONLY) < 0);
  say("read-only, made", mkdir("/r/new", 0755) < 0);

  struct pollfd polled[2] = {{0, POLLIN, 0}, {1, POLLOUT, 0}};
  say("poll", poll(polled, 2, 1000));
  struct timespec before, after, nap = {0, 3000000};
  clock_gettime(CLOCK_MONOTONIC, &before);
  nanosleep(&nap, NULL);
  clock_gettime(CLOCK_MONOTONIC, &after);
  long slept = (after.tv_sec - before.tv_sec) * 1000000 + (after.tv_nsec - before.tv_nsec) / 1000;
  printf("slept enough: %d\n", slept >= 3000);
  return 7;
}
