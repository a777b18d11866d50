/* RFC 1950 and 1951, reading. Each code is looked up in one table as wide as its longest code. */
#include <string.h>

#include "picture.h"

typedef struct {
  const uint8_t *at, *end;
  uint64_t bits;
  int count;
} Reader;

typedef struct {
  int width;
  uint16_t entry[1 << 15]; /* symbol << 4 | length; 0 where no code leads */
} Table;

static const uint16_t length_base[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                         31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
static const uint8_t length_extra[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
static const uint16_t distance_base[30] = {1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
                                           193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
static const uint8_t distance_extra[30] = {0, 0, 0, 0, 1, 1, 2, 2,  3,  3,  4,  4,  5,  5,  6,
                                           6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};

static void damaged(void) { refuse("the picture is damaged: its data cannot be unpacked"); }

static void fill(Reader *reader) {
  while (reader->count <= 56 && reader->at < reader->end) {
    reader->bits |= (uint64_t)*reader->at++ << reader->count;
    reader->count += 8;
  }
}

static unsigned take(Reader *reader, int count) {
  if (reader->count < count) fill(reader);
  if (reader->count < count) damaged();
  unsigned value = (unsigned)(reader->bits & ((1u << count) - 1));
  reader->bits >>= count;
  reader->count -= count;
  return value;
}

static void build(Table *table, const uint8_t *lengths, int symbols) {
  int counts[16] = {0}, next[16] = {0};
  for (int symbol = 0; symbol < symbols; symbol++) counts[lengths[symbol]]++;
  counts[0] = 0;
  table->width = 1;
  for (int length = 1, code = 0; length < 16; length++) {
    code = (code + counts[length - 1]) << 1;
    next[length] = code;
    if (code + counts[length] > 1 << length) damaged();
    if (counts[length]) table->width = length;
  }
  memset(table->entry, 0, sizeof(uint16_t) << table->width);
  for (int symbol = 0; symbol < symbols; symbol++) {
    int length = lengths[symbol];
    if (!length) continue;
    int code = next[length]++, turned = 0;
    for (int bit = 0; bit < length; bit++) turned |= (code >> bit & 1) << (length - 1 - bit);
    for (int place = turned; place < 1 << table->width; place += 1 << length)
      table->entry[place] = (uint16_t)(symbol << 4 | length);
  }
}

static inline int decode(Reader *reader, const Table *table) {
  if (reader->count < 15) fill(reader);
  uint16_t entry = table->entry[reader->bits & ((1u << table->width) - 1)];
  int length = entry & 15;
  if (!entry || length > reader->count) damaged();
  reader->bits >>= length;
  reader->count -= length;
  return entry >> 4;
}

static void read_tables(Reader *reader, Table *symbols, Table *distances) {
  static const uint8_t order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
  uint8_t lengths[320] = {0};
  int symbol_count = (int)take(reader, 5) + 257, distance_count = (int)take(reader, 5) + 1;
  int count = (int)take(reader, 4) + 4;
  for (int index = 0; index < count; index++) lengths[order[index]] = (uint8_t)take(reader, 3);
  build(symbols, lengths, 19);
  memset(lengths, 0, sizeof lengths);
  for (int index = 0; index < symbol_count + distance_count;) {
    int code = decode(reader, symbols), value = 0, repeat = 1;
    if (code < 16) value = code;
    if (code == 16) {
      if (!index) damaged();
      value = lengths[index - 1];
      repeat = 3 + (int)take(reader, 2);
    }
    if (code == 17) repeat = 3 + (int)take(reader, 3);
    if (code == 18) repeat = 11 + (int)take(reader, 7);
    if (index + repeat > symbol_count + distance_count) damaged();
    while (repeat--) lengths[index++] = (uint8_t)value;
  }
  build(symbols, lengths, symbol_count);
  build(distances, lengths + symbol_count, distance_count);
}

static void fixed_tables(Table *symbols, Table *distances) {
  uint8_t lengths[288];
  for (int symbol = 0; symbol < 288; symbol++) lengths[symbol] = symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8;
  build(symbols, lengths, 288);
  memset(lengths, 5, 30);
  build(distances, lengths, 30);
}

void inflate(const uint8_t *from, size_t from_size, uint8_t *to, size_t to_size) {
  static Table symbols, distances;
  if (from_size < 2 || (from[0] & 15) != 8) damaged();
  Reader reader = {from + 2, from + from_size, 0, 0};
  size_t done = 0;
  for (int last = 0; !last && done < to_size;) {
    last = (int)take(&reader, 1);
    int kind = (int)take(&reader, 2);
    if (kind == 0) {
      take(&reader, reader.count & 7);
      unsigned size = take(&reader, 16);
      if (size != (take(&reader, 16) ^ 0xffff)) damaged();
      if (size > to_size - done) size = (unsigned)(to_size - done);
      while (size--) to[done++] = (uint8_t)take(&reader, 8);
      continue;
    }
    if (kind == 1) fixed_tables(&symbols, &distances);
    if (kind == 2) read_tables(&reader, &symbols, &distances);
    if (kind == 3) damaged();
    for (;;) {
      int symbol = decode(&reader, &symbols);
      if (symbol == 256) break;
      if (done >= to_size) return;
      if (symbol < 256) {
        to[done++] = (uint8_t)symbol;
        continue;
      }
      if (symbol > 285) damaged();
      size_t length = length_base[symbol - 257] + take(&reader, length_extra[symbol - 257]);
      int code = decode(&reader, &distances);
      if (code > 29) damaged();
      size_t distance = distance_base[code] + take(&reader, distance_extra[code]);
      if (distance > done) damaged();
      if (length > to_size - done) length = to_size - done;
      for (const uint8_t *source = to + done - distance; length--; source++) to[done++] = *source;
    }
  }
  if (done < to_size) damaged();
}
