//go:build !purego

#include "textflag.h"

// func four(a, b, c, d unsafe.Pointer)
TEXT ·four(SB), NOSPLIT, $0-32
	MOVQ       a+0(FP), AX
	MOVQ       b+8(FP), BX
	MOVQ       c+16(FP), CX
	MOVQ       d+24(FP), DX
	PREFETCHT0 (AX)
	PREFETCHT0 (BX)
	PREFETCHT0 (CX)
	PREFETCHT0 (DX)
	RET

// func fetch(lines *uintptr, n int)
TEXT ·fetch(SB), NOSPLIT, $0-16
	MOVQ  lines+0(FP), AX
	MOVQ  n+8(FP), CX
	TESTQ CX, CX
	JZ    done

loop:
	MOVQ       (AX), BX
	PREFETCHT0 (BX)
	ADDQ       $8, AX
	DECQ       CX
	JNZ        loop

done:
	RET
