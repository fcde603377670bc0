/*
 * Frames: a 4-octet big-endian length, then one PDU of that length (protocol.md
 * section 4), and the limits of section 6 as they are when no configuration
 * says otherwise.
 */
#ifndef IM2000_WIRE_FRAME_H
#define IM2000_WIRE_FRAME_H

#include <stdint.h>

#define FRAME_PREFIX 4 /* octets of the length */

/* The length that the four octets at P say. */
static inline uint32_t frame_length(const uint8_t p[FRAME_PREFIX])
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Writes LENGTH into the four octets at P. */
static inline void frame_put_length(uint8_t p[FRAME_PREFIX], uint32_t length)
{
	p[0] = (uint8_t)(length >> 24);
	p[1] = (uint8_t)(length >> 16);
	p[2] = (uint8_t)(length >> 8);
	p[3] = (uint8_t)length;
}

/* Defaults of protocol.md section 6, in octets, seconds or pieces as the names say. */
#define LIMIT_COMMAND_OCTETS (64ULL << 10)         /* a command frame */
#define LIMIT_ENVELOPE_OCTETS (1ULL << 20)         /* submitEnvelope and readdress */
#define LIMIT_DATA_EXTRA_OCTETS (64ULL << 10)      /* submitChunk, retrieve: message limit + this */
#define LIMIT_MESSAGE_OCTETS (256ULL << 20)
#define LIMIT_RECIPIENTS 10000U                    /* recipients and lists of one envelope */
#define LIMIT_NOTIFICATIONS 256U                   /* in one notify */
#define LIMIT_NOTIFY_OCTETS (64ULL << 10)          /* one notify */
#define LIMIT_NOTIFICATION_OCTETS (2ULL << 10)     /* one notification, encoded */
#define LIMIT_SESSION_OCTETS (256ULL << 10)        /* buffered for one session, both ways */
#define LIMIT_IDLE_SECONDS 60U
#define LIMIT_FIRST_COMMAND_SECONDS 15U            /* before the first complete command */
#define LIMIT_WAIT_SECONDS 1800U                   /* wait and watch */
#define LIMIT_SESSIONS 10000U
#define LIMIT_SESSIONS_PER_ADDRESS 100U
#define LIMIT_FAILED_AUTHENTICATIONS 5U            /* a minute, for an account or an address */
#define LIMIT_STRUCTURE_OCTETS 512U                /* structure in a notification */
#define LIMIT_HEADER_OCTETS 1280U                  /* header in a notification */

#endif
