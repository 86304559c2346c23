//go:build !purego

#include "textflag.h"

// Two ways to make many blocks of Salsa20 at once.
//
// By diagonals: a register has one diagonal of the matrix of words, for two blocks. A column round works on whole
// diagonals; then three of them are turned, so that a row round does, and turned back.
//
//	D0 x0 x5 x10 x15    D1 x4 x9 x14 x3    D2 x8 x13 x2 x7    D3 x12 x1 x6 x11
//
// By words: a register has one word of the matrix, for sixteen blocks, which the rounds take as they would take numbers.
// In the end the sixteen registers are transposed.

// MIX is dst ^= (a + b) <<< n, with scratch t and u.
#define MIX(a, b, dst, n, t, u) \
	VPADDD a, b, t; \
	VPSLLD $n, t, u; \
	VPSRLD $(32-n), t, t; \
	VPXOR  u, dst, dst; \
	VPXOR  t, dst, dst

// QUARTERS is four quarter rounds side by side, in each of two groups of diagonals.
#define QUARTERS(a, b, c, d, e, f, g, h) \
	MIX(a, d, b, 7, Y8, Y9); \
	MIX(e, h, f, 7, Y10, Y11); \
	MIX(b, a, c, 9, Y8, Y9); \
	MIX(f, e, g, 9, Y10, Y11); \
	MIX(c, b, d, 13, Y8, Y9); \
	MIX(g, f, h, 13, Y10, Y11); \
	MIX(d, c, a, 18, Y8, Y9); \
	MIX(h, g, e, 18, Y10, Y11)

// TURN turns three diagonals.
#define TURN(p, q, r) \
	VPSHUFD $0x39, p, p; \
	VPSHUFD $0x4e, q, q; \
	VPSHUFD $0x93, r, r

// STORE adds what the rounds began with and stores the two blocks whose diagonals are a, b, c, d. It uses Y8 to Y11.
#define STORE(a, b, c, d, begin, at) \
	VPADDD   Y12, a, a; \
	VPADDD   Y13, b, b; \
	VPADDD   begin, c, c; \
	VPADDD   Y15, d, d; \
	VPBLENDD $0xaa, d, a, Y8; \
	VPBLENDD $0xaa, b, c, Y9; \
	VPBLENDD $0xaa, a, b, Y10; \
	VPBLENDD $0xaa, c, d, Y11; \
	VPBLENDD $0xcc, Y9, Y8, a; \
	VPBLENDD $0xcc, Y11, Y10, b; \
	VPBLENDD $0xcc, Y8, Y9, c; \
	VPBLENDD $0xcc, Y10, Y11, d; \
	VPERM2I128 $0x20, b, a, Y8; \
	VPERM2I128 $0x20, d, c, Y9; \
	VPERM2I128 $0x31, b, a, Y10; \
	VPERM2I128 $0x31, d, c, Y11; \
	VMOVDQU  Y8, (at+0)(DI); \
	VMOVDQU  Y9, (at+32)(DI); \
	VMOVDQU  Y10, (at+64)(DI); \
	VMOVDQU  Y11, (at+96)(DI)

DATA one<>+0(SB)/8, $0
DATA one<>+8(SB)/8, $0
DATA one<>+16(SB)/8, $1
DATA one<>+24(SB)/8, $0
GLOBL one<>(SB), RODATA|NOPTR, $32

DATA two<>+0(SB)/8, $2
DATA two<>+8(SB)/8, $0
DATA two<>+16(SB)/8, $2
DATA two<>+24(SB)/8, $0
GLOBL two<>(SB), RODATA|NOPTR, $32

// func salsaFour(out *[256]byte, diagonals *[16]uint32, doubleRounds int)
TEXT ·salsaFour(SB), NOSPLIT, $0-24
	MOVQ out+0(FP), DI
	MOVQ diagonals+8(FP), SI
	MOVQ doubleRounds+16(FP), CX
	VBROADCASTI128 (SI), Y12
	VBROADCASTI128 16(SI), Y13
	VBROADCASTI128 32(SI), Y14 // the number of the block is its word 0
	VBROADCASTI128 48(SI), Y15
	VPADDD  one<>(SB), Y14, Y14
	VMOVDQA Y12, Y0
	VMOVDQA Y13, Y1
	VMOVDQA Y14, Y2
	VMOVDQA Y15, Y3
	VMOVDQA Y12, Y4
	VMOVDQA Y13, Y5
	VPADDD  two<>(SB), Y14, Y6
	VMOVDQA Y15, Y7

rounds:
	QUARTERS(Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7)
	TURN(Y3, Y2, Y1)
	TURN(Y7, Y6, Y5)
	QUARTERS(Y0, Y3, Y2, Y1, Y4, Y7, Y6, Y5)
	TURN(Y1, Y2, Y3)
	TURN(Y5, Y6, Y7)
	DECQ CX
	JNZ  rounds

	STORE(Y0, Y1, Y2, Y3, Y14, 0)
	VPADDD two<>(SB), Y14, Y14
	STORE(Y4, Y5, Y6, Y7, Y14, 128)
	VZEROUPPER
	RET

DATA lanes<>+0(SB)/8, $0x0000000100000000
DATA lanes<>+8(SB)/8, $0x0000000300000002
DATA lanes<>+16(SB)/8, $0x0000000500000004
DATA lanes<>+24(SB)/8, $0x0000000700000006
DATA lanes<>+32(SB)/8, $0x0000000900000008
DATA lanes<>+40(SB)/8, $0x0000000b0000000a
DATA lanes<>+48(SB)/8, $0x0000000d0000000c
DATA lanes<>+56(SB)/8, $0x0000000f0000000e
GLOBL lanes<>(SB), RODATA|NOPTR, $64

// MIXES is four times dst ^= (a + b) <<< n.
#define MIXES(n, a0, b0, d0, a1, b1, d1, a2, b2, d2, a3, b3, d3) \
	VPADDD a0, b0, Z16; \
	VPADDD a1, b1, Z17; \
	VPADDD a2, b2, Z18; \
	VPADDD a3, b3, Z19; \
	VPROLD $n, Z16, Z16; \
	VPROLD $n, Z17, Z17; \
	VPROLD $n, Z18, Z18; \
	VPROLD $n, Z19, Z19; \
	VPXORD Z16, d0, d0; \
	VPXORD Z17, d1, d1; \
	VPXORD Z18, d2, d2; \
	VPXORD Z19, d3, d3

// func salsaSixteen(out *byte, matrix *[16]uint32, doubleRounds, times int)
TEXT ·salsaSixteen(SB), NOSPLIT, $0-32
	MOVQ out+0(FP), DI
	MOVQ matrix+8(FP), SI
	MOVQ times+24(FP), DX
	VPBROADCASTD 32(SI), Z31
	VPADDD lanes<>(SB), Z31, Z31 // the numbers of the blocks
	MOVL $16, AX
	VPBROADCASTD AX, Z30

again:
	MOVQ doubleRounds+16(FP), CX
	VPBROADCASTD 0(SI), Z0
	VPBROADCASTD 4(SI), Z1
	VPBROADCASTD 8(SI), Z2
	VPBROADCASTD 12(SI), Z3
	VPBROADCASTD 16(SI), Z4
	VPBROADCASTD 20(SI), Z5
	VPBROADCASTD 24(SI), Z6
	VPBROADCASTD 28(SI), Z7
	VMOVDQA32 Z31, Z8
	VPBROADCASTD 36(SI), Z9
	VPBROADCASTD 40(SI), Z10
	VPBROADCASTD 44(SI), Z11
	VPBROADCASTD 48(SI), Z12
	VPBROADCASTD 52(SI), Z13
	VPBROADCASTD 56(SI), Z14
	VPBROADCASTD 60(SI), Z15

rounds:
	MIXES(7, Z0, Z12, Z4, Z5, Z1, Z9, Z10, Z6, Z14, Z15, Z11, Z3)
	MIXES(9, Z4, Z0, Z8, Z9, Z5, Z13, Z14, Z10, Z2, Z3, Z15, Z7)
	MIXES(13, Z8, Z4, Z12, Z13, Z9, Z1, Z2, Z14, Z6, Z7, Z3, Z11)
	MIXES(18, Z12, Z8, Z0, Z1, Z13, Z5, Z6, Z2, Z10, Z11, Z7, Z15)
	MIXES(7, Z0, Z3, Z1, Z5, Z4, Z6, Z10, Z9, Z11, Z15, Z14, Z12)
	MIXES(9, Z1, Z0, Z2, Z6, Z5, Z7, Z11, Z10, Z8, Z12, Z15, Z13)
	MIXES(13, Z2, Z1, Z3, Z7, Z6, Z4, Z8, Z11, Z9, Z13, Z12, Z14)
	MIXES(18, Z3, Z2, Z0, Z4, Z7, Z5, Z9, Z8, Z10, Z14, Z13, Z15)
	DECQ CX
	JNZ  rounds

	VPADDD.BCST 0(SI), Z0, Z0
	VPADDD.BCST 4(SI), Z1, Z1
	VPADDD.BCST 8(SI), Z2, Z2
	VPADDD.BCST 12(SI), Z3, Z3
	VPADDD.BCST 16(SI), Z4, Z4
	VPADDD.BCST 20(SI), Z5, Z5
	VPADDD.BCST 24(SI), Z6, Z6
	VPADDD.BCST 28(SI), Z7, Z7
	VPADDD Z31, Z8, Z8
	VPADDD.BCST 36(SI), Z9, Z9
	VPADDD.BCST 40(SI), Z10, Z10
	VPADDD.BCST 44(SI), Z11, Z11
	VPADDD.BCST 48(SI), Z12, Z12
	VPADDD.BCST 52(SI), Z13, Z13
	VPADDD.BCST 56(SI), Z14, Z14
	VPADDD.BCST 60(SI), Z15, Z15

	// Pairs of words, then fours: of each four registers, one has words 4i to 4i+3 of blocks j, j+4, j+8 and j+12.
	VPUNPCKLDQ Z1, Z0, Z16
	VPUNPCKHDQ Z1, Z0, Z17
	VPUNPCKLDQ Z3, Z2, Z18
	VPUNPCKHDQ Z3, Z2, Z19
	VPUNPCKLQDQ Z18, Z16, Z0
	VPUNPCKHQDQ Z18, Z16, Z1
	VPUNPCKLQDQ Z19, Z17, Z2
	VPUNPCKHQDQ Z19, Z17, Z3
	VPUNPCKLDQ Z5, Z4, Z16
	VPUNPCKHDQ Z5, Z4, Z17
	VPUNPCKLDQ Z7, Z6, Z18
	VPUNPCKHDQ Z7, Z6, Z19
	VPUNPCKLQDQ Z18, Z16, Z4
	VPUNPCKHQDQ Z18, Z16, Z5
	VPUNPCKLQDQ Z19, Z17, Z6
	VPUNPCKHQDQ Z19, Z17, Z7
	VPUNPCKLDQ Z9, Z8, Z16
	VPUNPCKHDQ Z9, Z8, Z17
	VPUNPCKLDQ Z11, Z10, Z18
	VPUNPCKHDQ Z11, Z10, Z19
	VPUNPCKLQDQ Z18, Z16, Z8
	VPUNPCKHQDQ Z18, Z16, Z9
	VPUNPCKLQDQ Z19, Z17, Z10
	VPUNPCKHQDQ Z19, Z17, Z11
	VPUNPCKLDQ Z13, Z12, Z16
	VPUNPCKHDQ Z13, Z12, Z17
	VPUNPCKLDQ Z15, Z14, Z18
	VPUNPCKHDQ Z15, Z14, Z19
	VPUNPCKLQDQ Z18, Z16, Z12
	VPUNPCKHQDQ Z18, Z16, Z13
	VPUNPCKLQDQ Z19, Z17, Z14
	VPUNPCKHQDQ Z19, Z17, Z15

	// Then the fours of each block come together.
	VSHUFI32X4 $0x44, Z4, Z0, Z16 // blocks 0 and 4, words 0 to 7
	VSHUFI32X4 $0xee, Z4, Z0, Z17
	VSHUFI32X4 $0x44, Z12, Z8, Z18
	VSHUFI32X4 $0xee, Z12, Z8, Z19
	VSHUFI32X4 $0x88, Z18, Z16, Z20
	VSHUFI32X4 $0xdd, Z18, Z16, Z21
	VSHUFI32X4 $0x88, Z19, Z17, Z22
	VSHUFI32X4 $0xdd, Z19, Z17, Z23
	VMOVDQU32 Z20, 0(DI)
	VMOVDQU32 Z21, 256(DI)
	VMOVDQU32 Z22, 512(DI)
	VMOVDQU32 Z23, 768(DI)
	VSHUFI32X4 $0x44, Z5, Z1, Z16 // blocks 1 and 5, words 0 to 7
	VSHUFI32X4 $0xee, Z5, Z1, Z17
	VSHUFI32X4 $0x44, Z13, Z9, Z18
	VSHUFI32X4 $0xee, Z13, Z9, Z19
	VSHUFI32X4 $0x88, Z18, Z16, Z20
	VSHUFI32X4 $0xdd, Z18, Z16, Z21
	VSHUFI32X4 $0x88, Z19, Z17, Z22
	VSHUFI32X4 $0xdd, Z19, Z17, Z23
	VMOVDQU32 Z20, 64(DI)
	VMOVDQU32 Z21, 320(DI)
	VMOVDQU32 Z22, 576(DI)
	VMOVDQU32 Z23, 832(DI)
	VSHUFI32X4 $0x44, Z6, Z2, Z16 // blocks 2 and 6, words 0 to 7
	VSHUFI32X4 $0xee, Z6, Z2, Z17
	VSHUFI32X4 $0x44, Z14, Z10, Z18
	VSHUFI32X4 $0xee, Z14, Z10, Z19
	VSHUFI32X4 $0x88, Z18, Z16, Z20
	VSHUFI32X4 $0xdd, Z18, Z16, Z21
	VSHUFI32X4 $0x88, Z19, Z17, Z22
	VSHUFI32X4 $0xdd, Z19, Z17, Z23
	VMOVDQU32 Z20, 128(DI)
	VMOVDQU32 Z21, 384(DI)
	VMOVDQU32 Z22, 640(DI)
	VMOVDQU32 Z23, 896(DI)
	VSHUFI32X4 $0x44, Z7, Z3, Z16 // blocks 3 and 7, words 0 to 7
	VSHUFI32X4 $0xee, Z7, Z3, Z17
	VSHUFI32X4 $0x44, Z15, Z11, Z18
	VSHUFI32X4 $0xee, Z15, Z11, Z19
	VSHUFI32X4 $0x88, Z18, Z16, Z20
	VSHUFI32X4 $0xdd, Z18, Z16, Z21
	VSHUFI32X4 $0x88, Z19, Z17, Z22
	VSHUFI32X4 $0xdd, Z19, Z17, Z23
	VMOVDQU32 Z20, 192(DI)
	VMOVDQU32 Z21, 448(DI)
	VMOVDQU32 Z22, 704(DI)
	VMOVDQU32 Z23, 960(DI)

	VPADDD Z30, Z31, Z31
	ADDQ   $1024, DI
	DECQ   DX
	JNZ    again
	VZEROUPPER
	RET
