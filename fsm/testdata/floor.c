// The least that a machine can do, for the measurements of floor_test.go: it takes commands and answers each with numbers.
//
//   lines N            map N cache lines and touch them; prints seconds
//   dependent N        N random reads, each waits for the one before; prints ns of CPU time a read
//   batch N            N random reads, 32 at a time, prefetched; prints ns of CPU time a read
//   restore N FILE     read a snapshot of N peers, check it, and put the peers into a table that was touched before, in the
//                      order of the file; prints seconds to touch, and to read
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

typedef uint64_t line[8];
typedef uint64_t entry[11];

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static double used(void) {
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static void *touched(size_t size) {
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	madvise(p, size, MADV_HUGEPAGE);
	for (size_t i = 0; i < size; i += 4096) p[i] = 0;
	return p;
}

static uint64_t rnd = 1;

static uint64_t pick(uint64_t n) {
	rnd = rnd * 6364136223846793005u + 1442695040888963407u;
	return (rnd >> 32) * n >> 32;
}

static double dependent(line *l, uint64_t lines, uint64_t n) {
	double began = used();
	for (uint64_t i = 0; i < n; i++) rnd += l[pick(lines)][0]; // they are zero, which nobody knows
	return (used() - began) / n * 1e9;
}

static double batch(line *l, uint64_t lines, uint64_t n) {
	uint64_t at[32], sum = 0;
	double began = used();
	for (uint64_t i = 0; i < n; i += 32) {
		for (int k = 0; k < 32; k++) __builtin_prefetch(l[at[k] = pick(lines)]);
		for (int k = 0; k < 32; k++) sum += l[at[k]][0];
	}
	rnd += sum;
	return (used() - began) / n * 1e9;
}

static uint32_t crc32c(const uint8_t *p, size_t n) {
	uint64_t c = 0xffffffff;
	for (; n >= 8; p += 8, n -= 8) {
		uint64_t v;
		memcpy(&v, p, 8);
		c = __builtin_ia32_crc32di(c, v);
	}
	for (; n; n--) c = __builtin_ia32_crc32qi(c, *p++);
	return ~(uint32_t)c;
}

static uint32_t be32(const uint8_t *p) { return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3]; }

static uint64_t hash(uint64_t a) {
	uint64_t h = a + 0x9e3779b97f4a7c15;
	h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9;
	h = (h ^ h >> 27) * 0x94d049bb133111eb;
	return h ^ h >> 31;
}

static void whole(int f, uint8_t *b, size_t n) {
	for (ssize_t k; n; b += k, n -= k)
		if ((k = read(f, b, n)) <= 0) {
			fprintf(stderr, "the snapshot is cut off\n");
			exit(1);
		}
}

enum { record = 147, most = 8192 * record };

static void restore(uint64_t peers, const char *path) {
	double began = now();
	uint64_t slots = peers * 4 / 3, n = 0; // as full as rootd's table
	line *hot = touched((slots + 4096) * sizeof(line));
	entry *cold = touched(peers * sizeof(entry));
	double ready = now();
	int f = open(path, O_RDONLY);
	uint8_t *b = malloc(16 << 20), header[30];
	if (f < 0) {
		perror(path);
		exit(1);
	}
	for (whole(f, header, sizeof header); *b = 0, whole(f, b, 5), b[0] != 'E';) {
		uint32_t size = be32(b + 1);
		whole(f, b + 5, size + 4);
		if (crc32c(b, 5 + size) != be32(b + 5 + size)) {
			fprintf(stderr, "a checksum is wrong\n");
			exit(1);
		}
		if (b[0] != 'P') continue;
		for (uint8_t *r = b + 5; r < b + 5 + size; r += record, n++) {
			uint64_t a = (uint64_t)be32(r) << 8 | r[4], i = (hash(a) >> 32) * slots >> 32;
			while (hot[i][0]) i++;
			hot[i][0] = a << 24;
			memcpy(&hot[i][1], r + 69, 54);
			hot[i][7] = n;
			memcpy(cold[n], r + 5, 64);
			memcpy(&cold[n][8], r + 123, 24);
		}
	}
	printf("%.4f %.4f\n", ready - began, now() - ready);
	if (n != peers) fprintf(stderr, "%lu peers\n", (unsigned long)n), exit(1);
	close(f);
	free(b);
	munmap(hot, (slots + 4096) * sizeof(line));
	munmap(cold, peers * sizeof(entry));
}

int main(void) {
	char what[16], path[4096];
	uint64_t n, lines = 0;
	line *l = NULL;
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (scanf("%15s %lu", what, &n) == 2) {
		double began = now();
		if (!strcmp(what, "lines")) {
			l = touched((lines = n) * sizeof(line));
			printf("%.4f\n", now() - began);
		} else if (!strcmp(what, "dependent")) {
			printf("%.3f\n", dependent(l, lines, n));
		} else if (!strcmp(what, "batch")) {
			printf("%.3f\n", batch(l, lines, n));
		} else if (!strcmp(what, "restore") && scanf("%4095s", path) == 1) {
			restore(n, path);
		}
	}
	return 0;
}
