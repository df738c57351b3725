"""The floor of every scan: a loop of stat in C, compiled for the measurement where there is a compiler."""

import os
import shutil
import subprocess
from pathlib import Path

SOURCE = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static char **paths;
static int64_t *answers;

struct part { long start, stop; };

static void *stat_part(void *argument) {
    struct part *part = argument;
    for (long i = part->start; i < part->stop; i++) {
        struct stat status;
        if (stat(paths[i], &status) == 0) {
            answers[2 * i] = status.st_mtim.tv_sec * INT64_C(1000000000) + status.st_mtim.tv_nsec;
            answers[2 * i + 1] = status.st_size;
        } else {
            answers[2 * i] = answers[2 * i + 1] = -1;
        }
    }
    return NULL;
}

int main(int argc, char **argv) {
    FILE *file = fopen(argv[1], "rb");
    int threads = atoi(argv[2]), repeats = atoi(argv[3]);
    long length, count = 0;
    if (!file || argc != 4 || threads > 64) return 2;
    fseek(file, 0, SEEK_END);
    length = ftell(file);
    rewind(file);
    char *blob = malloc(length);
    if (fread(blob, 1, length, file) != (size_t)length) return 2;
    for (long i = 0; i < length; i++) count += blob[i] == 0;
    paths = malloc(count * sizeof *paths);
    answers = malloc(count * 2 * sizeof *answers);
    char *next = blob;
    for (long i = 0; i < count; i++, next += strlen(next) + 1) paths[i] = next;
    while (repeats--) {
        struct timespec began, ended;
        pthread_t workers[64];
        struct part parts[64];
        clock_gettime(CLOCK_MONOTONIC, &began);
        for (int t = 0; t < threads; t++) {
            parts[t] = (struct part){count * t / threads, count * (t + 1) / threads};
            pthread_create(&workers[t], NULL, stat_part, &parts[t]);
        }
        for (int t = 0; t < threads; t++) pthread_join(workers[t], NULL);
        clock_gettime(CLOCK_MONOTONIC, &ended);
        printf("%.6f\n", ended.tv_sec - began.tv_sec + (ended.tv_nsec - began.tv_nsec) * 1e-9);
    }
    return 0;
}
"""


def compile_floor(directory: Path) -> Path | None:
    """The program, compiled into a directory; None without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    source, program = directory / "c_stat.c", directory / "c_stat"
    source.write_text(SOURCE)
    subprocess.run([compiler, "-O2", "-pthread", "-o", program, source], check=True)
    return program


def measure_floor(program: Path, names: list[str], *, threads: int = 1, repeats: int = 3) -> list[float]:
    """Seconds that each of some rounds over all names takes."""
    blob = program.with_name("names.nul")
    blob.write_bytes(b"".join(os.fsencode(name) + b"\0" for name in names))
    ran = subprocess.run([program, blob, str(threads), str(repeats)], check=True, capture_output=True, text=True)
    return [float(line) for line in ran.stdout.split()]
