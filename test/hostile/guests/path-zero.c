#include "hostile.h"

/* A zero byte, where one side could see the path end and the other not. */
void _start(void) {
  everywhere("in\0");
  everywhere("in\0/../../secret");
  everywhere("\0");
  everywhere("../secret\0in");
  report("link", path_symlink(P("in\0../secret"), top, P("zero")));
  report("empty path", path_create_directory(top, "", 0));
  report("empty link", path_symlink("", 0, top, P("empty")));
}
