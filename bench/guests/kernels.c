/* Compute kernels, the same source for Wasm and for this machine: `kernels NAME` prints `CHECKSUM MILLISECONDS`, without the time in
 * which its input was made; `kernels` lists the names. Vectors are those of the compiler, 16 bytes wide, as both sides have them.
 * No function of a C library is inside of what is measured, except what the compiler puts there. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef float f32x4 __attribute__((vector_size(16)));

static double begun, took;

static double now(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return (double)at.tv_sec * 1e3 + (double)at.tv_nsec / 1e6;
}

static void start(void) { begun = now(); }
static void stop(void) { took = now() - begun; }

static uint64_t state = 88172645463325252u;

static uint32_t chance(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)(state >> 32);
}

static void *room(size_t bytes) {
  void *got = aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (!got) exit(3);
  return got;
}

static uint64_t mixed(const void *from, size_t bytes) {
  const uint8_t *at = from;
  uint64_t sum = 14695981039346656037u;
  for (size_t i = 0; i < bytes; i++) sum = (sum ^ at[i]) * 1099511628211u;
  return sum;
}

/* Product of two matrices of floats, four columns at once. */
static uint64_t matrix(void) {
  enum { n = 640 };
  float *left = room(n * n * 4), *right = room(n * n * 4), *product = room(n * n * 4);
  for (int i = 0; i < n * n; i++) {
    left[i] = (float)(chance() % 64) / 8;
    right[i] = (float)(chance() % 64) / 8;
  }
  start();
  for (int row = 0; row < n; row += 4) {
    for (int column = 0; column < n; column += 8) {
      f32x4 sums[4][2] = {0};
      for (int k = 0; k < n; k++) {
        const f32x4 *from = (const f32x4 *)(right + k * n + column);
        for (int i = 0; i < 4; i++) {
          float one = left[(row + i) * n + k];
          f32x4 four = {one, one, one, one};
          sums[i][0] += four * from[0];
          sums[i][1] += four * from[1];
        }
      }
      for (int i = 0; i < 4; i++) memcpy(product + (row + i) * n + column, sums[i], sizeof sums[i]);
    }
  }
  stop();
  return mixed(product, n * n * 4);
}

static uint64_t mandelbrot(void) {
  enum { width = 640, height = 480, most = 300 };
  uint64_t sum = 0;
  start();
  for (int y = 0; y < height; y++) {
    for (int x = 0; x < width; x++) {
      double a = x * 3.0 / width - 2.2, b = y * 2.4 / height - 1.2, re = 0, im = 0;
      int step = 0;
      while (step < most && re * re + im * im < 4) {
        double next = re * re - im * im + a;
        im = 2 * re * im + b;
        re = next;
        step++;
      }
      sum = sum * 31 + (uint64_t)step;
    }
  }
  stop();
  return sum;
}

static uint32_t turn(uint32_t value, int by) { return value >> by | value << (32 - by); }

static const uint32_t round_words[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

/* The inner function of SHA-256 (FIPS 180-4, 6.2.2) over many blocks. */
static uint64_t sha256(void) {
  enum { bytes = 24 * 1024 * 1024 };
  uint8_t *input = room(bytes);
  for (int i = 0; i < bytes; i += 4) memcpy(input + i, &(uint32_t){chance()}, 4);
  uint32_t hash[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  start();
  for (const uint8_t *block = input; block < input + bytes; block += 64) {
    uint32_t w[64];
    for (int i = 0; i < 16; i++) {
      w[i] = (uint32_t)block[i * 4] << 24 | (uint32_t)block[i * 4 + 1] << 16 | (uint32_t)block[i * 4 + 2] << 8 | block[i * 4 + 3];
    }
    for (int i = 16; i < 64; i++) {
      uint32_t low = turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3;
      uint32_t high = turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10;
      w[i] = w[i - 16] + low + w[i - 7] + high;
    }
    uint32_t a = hash[0], b = hash[1], c = hash[2], d = hash[3], e = hash[4], f = hash[5], g = hash[6], h = hash[7];
    for (int i = 0; i < 64; i++) {
      uint32_t first = h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + round_words[i] + w[i];
      uint32_t second = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      h = g, g = f, f = e, e = d + first, d = c, c = b, b = a, a = first + second;
    }
    hash[0] += a, hash[1] += b, hash[2] += c, hash[3] += d, hash[4] += e, hash[5] += f, hash[6] += g, hash[7] += h;
  }
  stop();
  return mixed(hash, sizeof hash);
}

static void insert_sort(uint32_t *items, size_t count) {
  for (size_t i = 1; i < count; i++) {
    uint32_t item = items[i];
    size_t at = i;
    for (; at > 0 && items[at - 1] > item; at--) items[at] = items[at - 1];
    items[at] = item;
  }
}

static void quick_sort(uint32_t *items, size_t count) {
  while (count > 16) {
    uint32_t a = items[0], b = items[count / 2], c = items[count - 1];
    uint32_t middle = a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);
    size_t left = 0, right = count - 1;
    for (;;) {
      while (items[left] < middle) left++;
      while (items[right] > middle) right--;
      if (left >= right) break;
      uint32_t item = items[left];
      items[left++] = items[right];
      items[right--] = item;
    }
    size_t cut = right + 1;
    quick_sort(items, cut);
    items += cut;
    count -= cut;
  }
  insert_sort(items, count);
}

static uint64_t sort(void) {
  enum { count = 2500000 };
  uint32_t *items = room(count * 4);
  for (int i = 0; i < count; i++) items[i] = chance();
  start();
  quick_sort(items, count);
  stop();
  for (int i = 1; i < count; i++) {
    if (items[i - 1] > items[i]) exit(4);
  }
  return mixed(items, count * 4);
}

/* Reads text that looks like JSON byte by byte: counts strings, numbers and the deepest nesting. */
static uint64_t scan(void) {
  enum { bytes = 32 * 1024 * 1024 };
  static const char *const pieces[] = {"{\"name\":\"a somewhat longer text, with \\\"quotes\\\"\",", "\"list\":[1,2.5,-3e7,true,null],",
                                       "\"id\":123456789,\"tags\":[\"x\",\"yy\",\"zzz\"]}", "[[[]]],{},\n", "\"plain\":false   ,"};
  char *text = room(bytes);
  for (size_t at = 0; at < bytes;) {
    const char *piece = pieces[chance() % 5];
    size_t size = strlen(piece);
    if (size > bytes - at) size = bytes - at;
    memcpy(text + at, piece, size);
    at += size;
  }
  uint64_t strings = 0, numbers = 0, words = 0, values = 0;
  int depth = 0, deepest = 0;
  start();
  for (const char *at = text, *end = text + bytes; at < end;) {
    char byte = *at++;
    switch (byte) {
      case '"':
        for (strings++; at < end && *at != '"'; at++) at += *at == '\\';
        at++;
        break;
      case '{':
      case '[':
        if (++depth > deepest) deepest = depth;
        break;
      case '}':
      case ']':
        depth--;
        break;
      case ',':
        values++;
        break;
      case ' ':
      case '\n':
      case ':':
        break;
      default:
        if (byte == '-' || (byte >= '0' && byte <= '9')) {
          for (numbers++; at < end && (*at == '.' || *at == '-' || *at == 'e' || (*at >= '0' && *at <= '9')); at++);
        } else {
          for (words++; at < end && *at >= 'a' && *at <= 'z'; at++);
        }
    }
  }
  stop();
  return strings * 1000003 + numbers * 10007 + words * 101 + values + (uint64_t)deepest;
}

struct body {
  double x, y, z, vx, vy, vz, mass;
};

static double root(double value) { return __builtin_sqrt(value); }

/* Planets that pull at each other, step by step. */
static uint64_t nbody(void) {
  enum { count = 8, steps = 400000 };
  struct body bodies[count];
  for (int i = 0; i < count; i++) {
    double *fields = &bodies[i].x;
    for (int field = 0; field < 7; field++) fields[field] = (chance() % 1000 + 1) / 100.0;
  }
  start();
  for (int step = 0; step < steps; step++) {
    for (int i = 0; i < count; i++) {
      for (int j = i + 1; j < count; j++) {
        struct body *a = &bodies[i], *b = &bodies[j];
        double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
        double square = dx * dx + dy * dy + dz * dz + 0.01;
        double pull = 0.00001 / (square * root(square));
        a->vx -= dx * b->mass * pull, a->vy -= dy * b->mass * pull, a->vz -= dz * b->mass * pull;
        b->vx += dx * a->mass * pull, b->vy += dy * a->mass * pull, b->vz += dz * a->mass * pull;
      }
    }
    for (int i = 0; i < count; i++) {
      struct body *a = &bodies[i];
      a->x += a->vx * 0.00001, a->y += a->vy * 0.00001, a->z += a->vz * 0.00001;
    }
  }
  stop();
  return mixed(bodies, sizeof bodies);
}

/* A picture of bytes, softened by 1-4-6-4-1 in both directions; the compiler makes vectors of it. */
static uint64_t blur(void) {
  enum { width = 2048, height = 2048, passes = 12 };
  uint8_t *picture = room(width * height), *other = room(width * height);
  for (int i = 0; i < width * height; i += 4) memcpy(picture + i, &(uint32_t){chance()}, 4);
  memcpy(other, picture, width * height);
  start();
  for (int pass = 0; pass < passes; pass++) {
    for (int y = 0; y < height; y++) {
      const uint8_t *restrict from = picture + y * width;
      uint8_t *restrict to = other + y * width;
      for (int x = 2; x < width - 2; x++) {
        to[x] = (uint8_t)((uint16_t)(from[x - 2] + from[x + 2] + 4 * (from[x - 1] + from[x + 1]) + 6 * from[x] + 8) >> 4);
      }
    }
    for (int y = 2; y < height - 2; y++) {
      const uint8_t *restrict from = other + y * width;
      uint8_t *restrict to = picture + y * width;
      for (int x = 0; x < width; x++) {
        to[x] = (uint8_t)((uint16_t)(from[x - 2 * width] + from[x + 2 * width] + 4 * (from[x - width] + from[x + width]) + 6 * from[x] + 8) >> 4);
      }
    }
  }
  stop();
  return mixed(picture, width * height);
}

static uint32_t four(const uint8_t *at) {
  uint32_t word;
  memcpy(&word, at, 4);
  return word;
}

/* Packs by writing what was seen before as distance and length: one table of what four bytes were seen last where. */
static uint64_t pack(void) {
  enum { bytes = 24 * 1024 * 1024, slots = 1 << 15 };
  uint8_t *input = room(bytes + 16), *output = room(bytes * 2);
  uint32_t *last = room(slots * 4);
  for (size_t at = 0; at < bytes;) {
    size_t size = chance() % 40 + 1;
    if (size > bytes - at) size = bytes - at;
    if (at > 100000 && chance() % 4) {
      memcpy(input + at, input + at - 50000 - chance() % 50000, size);
    } else {
      for (size_t i = 0; i < size; i++) input[at + i] = "etaoin shrdlu"[chance() % 13];
    }
    at += size;
  }
  memset(input + bytes, 0, 16);
  memset(last, 0, slots * 4);
  uint8_t *to = output;
  start();
  for (uint32_t at = 1, from = 0; at < bytes;) {
    uint32_t slot = four(input + at) * 2654435761u >> 17, seen = last[slot];
    last[slot] = at;
    if (at - seen > 65535 || four(input + seen) != four(input + at) || at + 4 > bytes) {
      at++;
      continue;
    }
    uint32_t size = 4;
    while (at + size < bytes && input[seen + size] == input[at + size]) size++;
    uint32_t plain = at - from;
    for (uint32_t left = plain; ; left -= 255) {
      *to++ = left < 255 ? (uint8_t)left : 255;
      if (left < 255) break;
    }
    for (uint32_t i = 0; i < plain; i++) *to++ = input[from + i];
    *to++ = (uint8_t)(at - seen), *to++ = (uint8_t)((at - seen) >> 8);
    for (uint32_t left = size; ; left -= 255) {
      *to++ = left < 255 ? (uint8_t)left : 255;
      if (left < 255) break;
    }
    from = at += size;
  }
  stop();
  return mixed(output, (size_t)(to - output));
}

static uint64_t sieve(void) {
  enum { most = 16000000 };
  uint8_t *composite = room(most);
  uint64_t count = 0, sum = 0;
  memset(composite, 0, most);
  start();
  for (uint32_t i = 2; i < most; i++) {
    if (composite[i]) continue;
    count++;
    sum += i;
    if (i < 4000) {
      for (uint32_t j = i * i; j < most; j += i) composite[j] = 1;
    }
  }
  stop();
  return count * 1000003 + sum;
}

/* Digits of a large factorial: a number of many words times a small one, and many words times many. */
static uint64_t bignum(void) {
  enum { words = 4000 };
  uint32_t *a = room(words * 4), *b = room(words * 4), *product = room(words * 8);
  for (int i = 0; i < words; i++) a[i] = chance(), b[i] = chance();
  memset(product, 0, words * 8);
  start();
  for (int times = 0; times < 8; times++) {
    for (int i = 0; i < words; i++) {
      uint64_t carry = 0;
      for (int j = 0; j < words; j++) {
        carry += (uint64_t)a[i] * b[j] + product[i + j];
        product[i + j] = (uint32_t)carry;
        carry >>= 32;
      }
      product[i + words] = (uint32_t)carry;
    }
    memcpy(a, product + words / 2, words * 4);
  }
  stop();
  return mixed(product, words * 8);
}

static const struct {
  const char *name;
  uint64_t (*run)(void);
} kernels[] = {{"bignum", bignum}, {"blur", blur},     {"mandelbrot", mandelbrot}, {"matrix", matrix}, {"nbody", nbody},
               {"pack", pack},     {"scan", scan},     {"sha256", sha256},         {"sieve", sieve},   {"sort", sort}};

int main(int argc, char **argv) {
  for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
    if (argc < 2) puts(kernels[i].name);
    else if (!strcmp(argv[1], kernels[i].name)) {
      uint64_t sum = kernels[i].run();
      printf("%016llx %.3f\n", (unsigned long long)sum, took);
      return 0;
    }
  }
  return argc < 2 ? 0 : 64;
}
