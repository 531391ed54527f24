/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inputs and outputs between shared memory and the arena. As NCHW they are a
 * transposition for each image: channels x places on the wire, places x
 * channels in the arena. Each byte of shared memory is touched once.
 *
 * Elements move as integers: a signalling NaN must arrive as it left.
 */
#include "engine.h"

/* Channels that are walked together, so that a cache line of the arena is
 * filled before it is left. */
#define CHANNEL_BLOCK 4U

/* A run of elements that lie in whole or part of one channel's plane. */
struct plane {
	uint64_t image; /* offset of the image, in elements */
	uint64_t channel;
	uint64_t place;	 /* row-major over height and width */
	uint64_t places; /* of a whole plane */
	uint64_t channels;
};

static struct plane plane_of(const struct uc_tensor *tensor, uint64_t element)
{
	struct plane plane = {
		.places = (uint64_t)tensor->h * tensor->w,
		.channels = tensor->c,
	};
	uint64_t image_elements = plane.places * plane.channels;
	uint64_t in_image = element % image_elements;

	plane.image = element - in_image;
	plane.channel = in_image / plane.places;
	plane.place = in_image % plane.places;
	return plane;
}

static uint64_t stored_at(const struct plane *plane)
{
	return plane->image + plane->place * plane->channels + plane->channel;
}

static void plane_advance(struct plane *plane, uint64_t elements)
{
	plane->place += elements;
	if (plane->place < plane->places)
		return;
	plane->channel += plane->place / plane->places;
	plane->place = 0;
	if (plane->channel >= plane->channels) {
		plane->channel = 0;
		plane->image += plane->places * plane->channels;
	}
}

/* Elements up to the end of this plane, or of CHANNEL_BLOCK whole planes when
 * so many lie ahead in this image. */
static uint64_t block_elements(const struct plane *plane, uint64_t left)
{
	uint64_t whole = CHANNEL_BLOCK * plane->places;

	if (plane->place == 0 && left >= whole &&
	    plane->channels - plane->channel >= CHANNEL_BLOCK)
		return whole;
	return plane->places - plane->place < left
		       ? plane->places - plane->place
		       : left;
}

static void scatter_one(uint8_t *to, const uint8_t *from, uint64_t elements,
			uint64_t channels)
{
	for (uint64_t i = 0; i < elements; i++)
		memcpy(to + 4 * i * channels, from + 4 * i, 4);
}

static void scatter_block(uint8_t *to, const uint8_t *from, uint64_t places,
			  uint64_t channels)
{
	for (uint64_t i = 0; i < places; i++) {
		for (uint64_t j = 0; j < CHANNEL_BLOCK; j++)
			memcpy(to + 4 * (i * channels + j),
			       from + 4 * (j * places + i), 4);
	}
}

static void gather_one(uint8_t *to, const uint8_t *from, uint64_t elements,
		       uint64_t channels)
{
	for (uint64_t i = 0; i < elements; i++)
		memcpy(to + 4 * i, from + 4 * i * channels, 4);
}

static void gather_block(uint8_t *to, const uint8_t *from, uint64_t places,
			 uint64_t channels)
{
	for (uint64_t i = 0; i < places; i++) {
		for (uint64_t j = 0; j < CHANNEL_BLOCK; j++)
			memcpy(to + 4 * (j * places + i),
			       from + 4 * (i * channels + j), 4);
	}
}

void uc_io_scatter(const struct uc_tensor *tensor, uint32_t first,
		   uint32_t count, const uint8_t *ns_data, uint8_t *stored)
{
	struct plane plane = plane_of(tensor, first);
	uint64_t left = count;

	if (tensor->wire_layout != UC_WIRE_NCHW || tensor->c == 1 ||
	    plane.places == 1) {
		memcpy(stored + 4 * (size_t)first, ns_data, 4 * (size_t)count);
		return;
	}
	while (left != 0) {
		uint64_t elements = block_elements(&plane, left);
		uint8_t *to = stored + 4 * stored_at(&plane);

		if (elements > plane.places)
			scatter_block(to, ns_data, plane.places,
				      plane.channels);
		else
			scatter_one(to, ns_data, elements, plane.channels);
		ns_data += 4 * elements;
		left -= elements;
		plane_advance(&plane, elements);
	}
}

void uc_io_gather(const struct uc_tensor *tensor, uint32_t first,
		  uint32_t count, const uint8_t *stored, uint8_t *ns_data)
{
	struct plane plane = plane_of(tensor, first);
	uint64_t left = count;

	if (tensor->wire_layout != UC_WIRE_NCHW || tensor->c == 1 ||
	    plane.places == 1) {
		memcpy(ns_data, stored + 4 * (size_t)first, 4 * (size_t)count);
		return;
	}
	while (left != 0) {
		uint64_t elements = block_elements(&plane, left);
		const uint8_t *from = stored + 4 * stored_at(&plane);

		if (elements > plane.places)
			gather_block(ns_data, from, plane.places,
				     plane.channels);
		else
			gather_one(ns_data, from, elements, plane.channels);
		ns_data += 4 * elements;
		left -= elements;
		plane_advance(&plane, elements);
	}
}
