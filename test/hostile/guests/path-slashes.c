#include "hostile.h"

/* A file is no directory, however many slashes and dots follow it. */
void _start(void) {
  everywhere("in/");
  everywhere("in//");
  everywhere("in/.");
  everywhere("in/..");
  everywhere("in/../in");
  everywhere("in/../../secret");
  everywhere("new/");
  everywhere("new/.");
  everywhere(".");
  everywhere("./");
  everywhere("././.");
}
