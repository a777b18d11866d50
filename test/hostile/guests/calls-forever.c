#include "hostile.h"

/* Never in a loop of its own for long: always in a call of ours. */
void _start(void) {
  u64 time;
  char stat[64];
  for (;;) sched_yield(), clock_time_get(1, 0, &time), path_filestat_get(top, 0, P("in"), stat), path_create_directory(top, P("../x"));
}
