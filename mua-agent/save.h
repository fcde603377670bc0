/* A message's attachments as files in a folder. */
#ifndef IM2000_AGENT_SAVE_H
#define IM2000_AGENT_SAVE_H

#include "mua-agent/pull.h"

/*
 * Pulls all of the message and writes each attachment, decoded, into FOLDER (made
 * when absent), under its own name made safe; a name that is taken gets a number. Nothing
 * there is replaced, no link is followed. Says what it wrote on stdout. 0 or an error with E
 * filled.
 */
int save_attachments(struct pull *p, const char *folder, struct err_text *e);

#endif
