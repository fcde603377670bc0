/* A directory of a test's own, under $TMPDIR or /tmp. */
#ifndef IM2000_TESTS_TEMPDIR_H
#define IM2000_TESTS_TEMPDIR_H

/* Makes a fresh directory (0700) and returns its path (caller frees); fails the test otherwise. */
char *tempdir_make(void);

/* Removes the directory with the plain files in it, and frees DIR. */
void tempdir_remove(char *dir);

#endif
