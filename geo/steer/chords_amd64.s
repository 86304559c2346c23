//go:build !purego

#include "textflag.h"

// SQUARES makes the squares of four chords from the dot products' halves at two addresses, and the lengths at a third one.
#define SQUARES(at, to, tmp) \
	MOVOU   at(AX), to;       \
	PMADDWL X0, to;           \
	MOVOU   (32+at)(AX), tmp; \
	PMADDWL X1, tmp;          \
	PADDL   tmp, to;          \
	PADDL   to, to;           \
	MOVOU   (64+at)(AX), tmp; \
	PADDL   X2, tmp;          \
	PSUBL   to, tmp

// func leastSSE(among *chords, n int, from *geo.Unit) uint64
TEXT ·leastSSE(SB), NOSPLIT, $0-32
	MOVQ among+0(FP), AX
	MOVQ n+8(FP), CX
	MOVQ from+16(FP), BX

	// X0: x and y, X1: z, in all lanes. One by one, as they were just written: a processor waits for what it wrote in smaller pieces.
	PXOR   X0, X0
	PXOR   X1, X1
	PINSRW $0, (BX), X0
	PINSRW $0, 4(BX), X1
	PINSRW $1, 2(BX), X0
	PSHUFL $0, X0, X0
	PSHUFL $0, X1, X1

	// X2: the square of the length
	MOVO    X0, X2
	PMADDWL X2, X2
	MOVO    X1, X3
	PMADDWL X3, X3
	PADDL   X3, X2

	MOVQ $-1, R8 // the least yet
	XORL R9, R9  // number of the first of the eight

eight:
	SQUARES(0, X3, X4)
	SQUARES(16, X5, X6)

	// X7: the least of them, in all lanes
	MOVO   X4, X7
	PMINUD X6, X7
	PSHUFL $0x4e, X7, X8
	PMINUD X8, X7
	PSHUFL $0xb1, X7, X8
	PMINUD X8, X7
	MOVL   X7, BX

	// DX: the first lane that has it
	PCMPEQL  X7, X4
	PCMPEQL  X7, X6
	PACKSSLW X6, X4
	PACKSSWB X4, X4
	PMOVMSKB X4, DX
	BSFL     DX, DX

	SHLQ    $32, BX
	ADDQ    R9, DX
	ORQ     DX, BX
	CMPQ    R8, BX
	CMOVQHI BX, R8
	ADDQ    $96, AX
	ADDQ    $8, R9
	DECQ    CX
	JNZ     eight

	MOVQ R8, ret+24(FP)
	RET
