#include "hostile.h"

/* Clocks that there are and that there are not; and what one could measure with them. */
void _start(void) {
  u64 value = 0, again;
  static const u32 ids[] = {0, 1, 2, 3, 4, 9, 0x7fffffff, 0x80000000, 0xffffffff};
  for (u32 i = 0; i < sizeof ids / sizeof *ids; i++) {
    u32 resolution = clock_res_get(ids[i], &value), number = clock_time_get(ids[i], ~0ULL, &again);
    say_number(ids[i]), say(": resolution "), say_errno(resolution), say(", time "), say_errno(number), put('\n');
  }
  u64 first, last;
  clock_time_get(1, 0, &first);
  int back = 0;
  for (u32 i = 0; i < 100000; i++) clock_time_get(1, 0, &last), back |= last < first, first = last;
  say(back ? "time went back\n" : "time went on\n");
}
