#include "hostile.h"

/* Waits for 584 years on one clock, and until the year 2554 on another. */
void _start(void) {
  static u8 subscriptions[2][48], events[2][32];
  for (u32 i = 0; i < 2; i++) {
    *(u32 *)(subscriptions[i] + 16) = 1 - i;
    *(u64 *)(subscriptions[i] + 24) = *(u64 *)(subscriptions[i] + 32) = ~0ULL;
    *(u16 *)(subscriptions[i] + 40) = i;
  }
  for (;;) {
    u32 done;
    poll_oneoff(subscriptions, events, 2, &done);
  }
}
