/*
 * A main() for fuzz targets without libFuzzer: runs the target on every file named, and on every
 * file in the folders named (and their folders), and says how many there were. Built with the
 * sanitizers it makes a regression test of the corpus. No file at all is a failure.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t replayed;

/* Reads PATH into a block of exactly its size, so that a read past the end is found. */
static int replay_file(const char *path, size_t size)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = malloc(size ? size : 1);
	int result = -1;
	if (file && data && fread(data, 1, size, file) == size) {
		/* A target that crashes leaves this line as the last one. */
		printf("%s\n", path);
		fflush(stdout);
		LLVMFuzzerTestOneInput(data, size);
		replayed++;
		result = 0;
	} else {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
	}
	free(data);
	if (file)
		fclose(file);
	return result;
}

static int replay_path(const char *path);

static int replay_folder(const char *path)
{
	DIR *folder = opendir(path);
	int result = 0;
	if (!folder) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
		char inner[4096];
		if (entry->d_name[0] == '.')
			continue;
		int n = snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
		if (n < 0 || (size_t)n >= sizeof inner || replay_path(inner) != 0)
			result = -1;
	}
	closedir(folder);
	return result;
}

static int replay_path(const char *path)
{
	struct stat about;
	if (stat(path, &about) != 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	return S_ISDIR(about.st_mode) ? replay_folder(path)
	                              : replay_file(path, (size_t)about.st_size);
}

int main(int argc, char **argv)
{
	int result = 0;
	for (int i = 1; i < argc; i++)
		if (replay_path(argv[i]) != 0)
			result = 1;
	printf("%zu inputs replayed\n", replayed);
	return replayed ? result : 1;
}
