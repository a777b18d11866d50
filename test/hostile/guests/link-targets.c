#include "hostile.h"

/* Links with targets as long as they may be, until there is no room for them. */
void _start(void) {
  static char target[70000];
  for (u32 i = 0; i < sizeof target; i++) target[i] = 'a';
  report("70000 bytes", path_symlink(target, sizeof target, top, P("l")));
  report("4097 bytes", path_symlink(target, 4097, top, P("l")));
  char name[5] = "00000";
  u32 number = 0, count = 0;
  for (; count < 100000; count++) {
    for (u32 i = 0, rest = count; i < 5; i++, rest /= 10) name[i] = '0' + rest % 10;
    if ((number = path_symlink(target, 4096, top, name, 5))) break;
  }
  say_number(count), say(" links, then "), say_errno(number), put('\n');
}
