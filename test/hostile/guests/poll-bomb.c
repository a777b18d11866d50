#include "hostile.h"

/* More subscriptions than there is room, of kinds that there are not, for times that overflow. */
static u8 subscriptions[2000][48], events[2000][32];
static void clock_of(u32 at, u32 id, u64 timeout, u64 precision, u16 flags) {
  u8 *one = subscriptions[at];
  for (u32 i = 0; i < 48; i++) one[i] = 0;
  *(u32 *)(one + 16) = id, *(u64 *)(one + 24) = timeout, *(u64 *)(one + 32) = precision, *(u16 *)(one + 40) = flags;
}
static void once(const char *what, u32 count) {
  u32 done = 0;
  say(what), say(": "), say_errno(poll_oneoff(subscriptions, events, count, &done));
  say(", events "), say_number(done), put('\n');
}
void _start(void) {
  clock_of(0, 1, 0, 0, 0);
  once("none", 0);
  for (u32 i = 0; i < 2000; i++) clock_of(i, 1, 0, ~0ULL, 0);
  once("1024", 1024);
  once("1025", 1025);
  once("2^16", 65536);
  once("2^31", 1u << 31);
  once("2^32-1", ~0u);
  once("89478486, whose bytes are 2^32 and a little", 89478486);
  clock_of(0, 9, 0, 0, 0);
  once("clock 9", 1);
  clock_of(0, ~0u, 0, 0, 0);
  once("clock 2^32-1", 1);
  clock_of(0, 0, 0, 0, 1);
  once("until 1970", 1);
  clock_of(0, 1, 1, ~0ULL, 1);
  once("until the machine started", 1);
  clock_of(0, 1, 0, 0, 0), subscriptions[0][8] = 3;
  once("kind 3", 1);
  clock_of(0, 1, 0, 0, 0xfffe);
  once("unknown flags", 1);
  for (u32 i = 0; i < 1000; i++) {
    clock_of(i, 0, 0, 0, 0);
    subscriptions[i][8] = 1 + (i & 1), *(u32 *)(subscriptions[i] + 16) = i * 4294967;
  }
  once("descriptors that are not", 1000);
}
