#include "hostile.h"

/* Paths from the root: the tree's own, and the host's. */
void _start(void) {
  everywhere("/");
  everywhere("/secret");
  everywhere("//secret");
  everywhere("/d/in");
  everywhere("/./d/in");
  everywhere("/etc/passwd");
  everywhere("/proc/self/environ");
  everywhere("/proc/self/mem");
  everywhere("/dev/mem");
  everywhere("/dev/shm/x");
  everywhere("C:\\Windows\\win.ini");
  everywhere("\\\\server\\share\\x");
  everywhere("file:///etc/passwd");
}
