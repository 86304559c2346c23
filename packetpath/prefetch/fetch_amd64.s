//go:build !purego

#include "textflag.h"

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
