package vl1

import "github.com/pierrec/lz4/v4"

// compressFrom is the size above which a packet is worth compressing.
const compressFrom = 92

// Compress compresses the payload in place, if that makes the packet smaller, and returns what it
// then is. It comes before Armor and needs a scratch buffer as long as the packet.
func Compress(p Packet, scratch []byte) Packet {
	if len(p) <= compressFrom || p.Compressed() {
		return p
	}
	n, err := lz4.CompressBlock(p.Payload(), scratch, nil)
	if err != nil || n == 0 || n >= len(p.Payload()) {
		return p
	}
	p = append(p[:offPayload], scratch[:n]...)
	p[offVerb] |= flagCompressed
	return p
}

// Decompress returns the packet with its payload decompressed into dst, or the packet itself if it
// was not compressed. It comes after Dearmor. A dst of MaxPacket bytes takes every lawful packet;
// ErrCompressed is returned for others, and for empty results.
func Decompress(p Packet, dst []byte) (Packet, error) {
	if !p.Compressed() {
		return p, nil
	}
	dst = dst[:min(len(dst), MaxPacket)]
	if len(dst) < HeaderLen {
		return nil, ErrCompressed
	}
	n, err := lz4.UncompressBlock(p.Payload(), dst[offPayload:])
	if err != nil || n <= 0 {
		return nil, ErrCompressed
	}
	copy(dst, p[:offPayload])
	dst[offVerb] &^= flagCompressed
	return dst[:offPayload+n], nil
}
