/* RFC 1950 and 1951, writing: matches found by hash chains, a table of codes for every block. */
#include <stdlib.h>
#include <string.h>

#include "picture.h"

enum { window = 32768, tries = 24, block_tokens = 32768, hashes = 1 << 15, good_enough = 128 };

typedef struct {
  uint8_t *bytes;
  size_t size, room;
  uint64_t bits;
  int count;
} Writer;

static void put(Writer *writer, unsigned value, int count) {
  writer->bits |= (uint64_t)value << writer->count;
  writer->count += count;
  if (writer->size + 8 > writer->room) {
    writer->room *= 2;
    writer->bytes = realloc(writer->bytes, writer->room);
    if (!writer->bytes) refuse("out of memory");
  }
  while (writer->count >= 8) {
    writer->bytes[writer->size++] = (uint8_t)writer->bits;
    writer->bits >>= 8;
    writer->count -= 8;
  }
}

typedef struct {
  int symbols;
  uint32_t uses[286];
  uint8_t lengths[286];
  uint16_t codes[286];
} Code;

/* Lengths of a Huffman code, at most `limit` each: the two rarest nodes are joined until one is left. */
static void measure(Code *code, int limit) {
  uint32_t weight[572];
  int16_t above[572], open[286];
  int count = 0, nodes = code->symbols;
  memset(code->lengths, 0, sizeof code->lengths);
  for (int symbol = 0; symbol < code->symbols; symbol++) {
    weight[symbol] = code->uses[symbol];
    if (code->uses[symbol]) open[count++] = (int16_t)symbol;
  }
  if (count == 0) return;
  if (count == 1) {
    code->lengths[open[0]] = 1;
    return;
  }
  int16_t used[286];
  int used_count = count;
  memcpy(used, open, sizeof used);
  while (count > 1) {
    for (int pick = 0; pick < 2; pick++) {
      int best = pick;
      for (int index = pick + 1; index < count; index++)
        if (weight[open[index]] < weight[open[best]]) best = index;
      int16_t swap = open[pick];
      open[pick] = open[best];
      open[best] = swap;
    }
    weight[nodes] = weight[open[0]] + weight[open[1]];
    above[open[0]] = above[open[1]] = (int16_t)nodes;
    open[0] = (int16_t)nodes++;
    open[1] = open[--count];
  }
  int root = nodes - 1, counts[64] = {0};
  for (int index = 0; index < used_count; index++) {
    int depth = 0;
    for (int node = used[index]; node != root; node = above[node]) depth++;
    if (depth > limit) depth = limit;
    code->lengths[used[index]] = (uint8_t)depth;
    counts[depth]++;
  }
  /* Cutting the longest codes asks for more room than there is; lengthen the rarest of the longest others until it fits. */
  long need = 0;
  for (int depth = 1; depth <= limit; depth++) need += (long)counts[depth] << (limit - depth);
  while (need > 1L << limit) {
    int rarest = -1;
    for (int index = 0; index < used_count; index++) {
      int symbol = used[index], length = code->lengths[symbol];
      if (length == limit) continue;
      if (rarest < 0 || length > code->lengths[rarest] ||
          (length == code->lengths[rarest] && code->uses[symbol] < code->uses[rarest]))
        rarest = symbol;
    }
    need -= 1L << (limit - code->lengths[rarest] - 1);
    code->lengths[rarest]++;
  }
  /* That may have left room, which a code must not have: the most used that fit become shorter again. */
  while (need < 1L << limit) {
    int chosen = -1;
    for (int index = 0; index < used_count; index++) {
      int symbol = used[index];
      if (1L << (limit - code->lengths[symbol]) > (1L << limit) - need) continue;
      if (chosen < 0 || code->uses[symbol] > code->uses[chosen]) chosen = symbol;
    }
    need += 1L << (limit - code->lengths[chosen]);
    code->lengths[chosen]--;
  }
}

static void assign(Code *code) {
  unsigned counts[16] = {0}, next[16] = {0};
  for (int symbol = 0; symbol < code->symbols; symbol++) counts[code->lengths[symbol]]++;
  counts[0] = 0;
  for (unsigned length = 1, at = 0; length < 16; length++) next[length] = at = (at + counts[length - 1]) << 1;
  for (int symbol = 0; symbol < code->symbols; symbol++) {
    int length = code->lengths[symbol];
    unsigned value = length ? next[length]++ : 0, turned = 0;
    for (int bit = 0; bit < length; bit++) turned |= (value >> bit & 1) << (length - 1 - bit);
    code->codes[symbol] = (uint16_t)turned;
  }
}

static void emit(Writer *writer, const Code *code, int symbol) { put(writer, code->codes[symbol], code->lengths[symbol]); }

/* symbol, base and extra bits of a length or distance */
static int length_symbol(int length, int *extra, int *rest) {
  if (length == 258) return *extra = 0, *rest = 0, 285;
  int value = length - 3, bits = 0;
  if (value >= 8) bits = 29 - __builtin_clz((unsigned)value);
  *extra = bits;
  *rest = value & ((1 << bits) - 1);
  return 257 + bits * 4 + (value >> bits);
}

static int distance_symbol(int distance, int *extra, int *rest) {
  int value = distance - 1, bits = 0;
  if (value >= 4) bits = 30 - __builtin_clz((unsigned)value);
  *extra = bits;
  *rest = value & ((1 << bits) - 1);
  return bits * 2 + (value >> bits);
}

typedef struct {
  uint16_t length;   /* or the byte itself where distance is 0 */
  uint16_t distance; /* 32768 is written as it is */
} Token;

static void write_lengths(Writer *writer, const Code *symbols, const Code *distances, int symbol_count, int distance_count) {
  static const uint8_t order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
  uint8_t all[320], runs[320], rest[320];
  int count = 0, total = symbol_count + distance_count;
  memcpy(all, symbols->lengths, (size_t)symbol_count);
  memcpy(all + symbol_count, distances->lengths, (size_t)distance_count);
  Code code = {.symbols = 19};
  for (int at = 0; at < total;) {
    int run = 1;
    while (at + run < total && all[at + run] == all[at] && run < 138) run++;
    int symbol = all[at], more = 0;
    if (all[at] == 0 && run >= 11) symbol = 18, more = run - 11;
    else if (all[at] == 0 && run >= 3) symbol = 17, more = run - 3;
    else if (at > 0 && all[at] == all[at - 1] && run >= 3) {
      if (run > 6) run = 6;
      symbol = 16, more = run - 3;
    } else run = 1;
    runs[count] = (uint8_t)symbol, rest[count++] = (uint8_t)more;
    code.uses[symbol]++;
    at += run;
  }
  measure(&code, 7);
  assign(&code);
  int sent = 19;
  while (sent > 4 && !code.lengths[order[sent - 1]]) sent--;
  put(writer, (unsigned)(symbol_count - 257), 5);
  put(writer, (unsigned)(distance_count - 1), 5);
  put(writer, (unsigned)(sent - 4), 4);
  for (int index = 0; index < sent; index++) put(writer, code.lengths[order[index]], 3);
  for (int index = 0; index < count; index++) {
    emit(writer, &code, runs[index]);
    if (runs[index] >= 16) put(writer, rest[index], runs[index] == 16 ? 2 : runs[index] == 17 ? 3 : 7);
  }
}

static void write_block(Writer *writer, const Token *tokens, int count, int last) {
  static Code symbols, distances;
  int extra, rest;
  memset(&symbols, 0, sizeof symbols);
  memset(&distances, 0, sizeof distances);
  symbols.symbols = 286;
  distances.symbols = 30;
  symbols.uses[256] = 1;
  for (int index = 0; index < count; index++) {
    if (!tokens[index].distance) symbols.uses[tokens[index].length]++;
    else {
      symbols.uses[length_symbol(tokens[index].length, &extra, &rest)]++;
      distances.uses[distance_symbol(tokens[index].distance, &extra, &rest)]++;
    }
  }
  measure(&symbols, 15);
  measure(&distances, 15);
  assign(&symbols);
  assign(&distances);
  int symbol_count = 286, distance_count = 30;
  while (symbol_count > 257 && !symbols.lengths[symbol_count - 1]) symbol_count--;
  while (distance_count > 1 && !distances.lengths[distance_count - 1]) distance_count--;
  put(writer, (unsigned)last, 1);
  put(writer, 2, 2);
  write_lengths(writer, &symbols, &distances, symbol_count, distance_count);
  for (int index = 0; index < count; index++) {
    Token token = tokens[index];
    if (!token.distance) {
      emit(writer, &symbols, token.length);
      continue;
    }
    emit(writer, &symbols, length_symbol(token.length, &extra, &rest));
    put(writer, (unsigned)rest, extra);
    emit(writer, &distances, distance_symbol(token.distance, &extra, &rest));
    put(writer, (unsigned)rest, extra);
  }
  emit(writer, &symbols, 256);
}

static inline uint32_t hash(const uint8_t *at) {
  return ((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16) * 2654435761u >> 17;
}

static inline int matching(const uint8_t *one, const uint8_t *other, int most) {
  int length = 0;
  while (length + 8 <= most) {
    uint64_t left, right;
    memcpy(&left, one + length, 8);
    memcpy(&right, other + length, 8);
    if (left != right) return length + __builtin_ctzll(left ^ right) / 8;
    length += 8;
  }
  while (length < most && one[length] == other[length]) length++;
  return length;
}

uint8_t *deflate(const uint8_t *from, size_t size, size_t *to_size) {
  static int32_t newest[hashes], older[window];
  static Token tokens[block_tokens];
  if (size > INT32_MAX) refuse("the picture is too large");
  Writer writer = {allocate(1, size / 4 + 1024), 0, size / 4 + 1024, 0, 0};
  memset(newest, 0xff, sizeof newest);
  put(&writer, 0x78, 8);
  put(&writer, 0x9c, 8);
  int count = 0, end = (int)size;
  for (int at = 0; at < end;) {
    int best = 2, distance = 0, most = end - at < 258 ? end - at : 258;
    if (most >= 3) {
      int candidate = newest[hash(from + at)];
      for (int left = tries; candidate >= 0 && at - candidate <= window && left--; candidate = older[candidate % window]) {
        if (best < most && from[candidate + best] != from[at + best]) continue;
        int length = matching(from + candidate, from + at, most);
        if (length > best) best = length, distance = at - candidate;
        if (best >= good_enough || best == most) break;
      }
    }
    int step = distance ? best : 1;
    tokens[count++] = distance ? (Token){(uint16_t)best, (uint16_t)distance} : (Token){from[at], 0};
    /* Within a long run only its beginning is remembered: what follows repeats it. */
    int remembered = step < 32 ? step : 32;
    for (int index = 0; index < remembered && at + index + 3 <= end; index++) {
      uint32_t place = hash(from + at + index);
      older[(at + index) % window] = newest[place];
      newest[place] = at + index;
    }
    at += step;
    if (count == block_tokens && at < end) write_block(&writer, tokens, count, 0), count = 0;
  }
  write_block(&writer, tokens, count, 1);
  if (writer.count) put(&writer, 0, 8 - writer.count);
  uint32_t low = 1, high = 0;
  for (size_t at = 0; at < size;) {
    size_t stop = size - at < 5552 ? size : at + 5552;
    for (; at < stop; at++) low += from[at], high += low;
    low %= 65521, high %= 65521;
  }
  for (int shift = 8; shift >= 0; shift -= 8) put(&writer, high >> shift & 255, 8);
  for (int shift = 8; shift >= 0; shift -= 8) put(&writer, low >> shift & 255, 8);
  *to_size = writer.size;
  return writer.bytes;
}
