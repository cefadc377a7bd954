//! Weights in blocks.

use super::*;

#[test]
fn products_with_packed_weights() {
    expect(
        "com.microsoft::MatMulNBits",
        &[int("N", 2), int("K", 18), int("bits", 4), int("block_size", 16)],
        &[
            "f32[1, 18]: 1.75 -1.25 0 -0.75 -0.75 1.25 -1.5 -0.75 -1.5 -1.5 -1 0.75 0.25 -0.25 -1.5 1.25 \
             1.25 -1",
            "u8[2, 2, 8]: 202 192 135 74 15 100 105 2 0 242 163 60 100 244 226 220 97 122 170 10 143 78 \
             229 18 165 209 53 232 222 4 188 12",
            "f32[2, 2]: 0.125 0.625 0.375 0.5",
        ],
        &["f32[1, 2]: -1.25 -12.8125"],
    );
    expect(
        "com.microsoft::MatMulNBits",
        &[int("N", 2), int("K", 18), int("bits", 4), int("block_size", 16)],
        &[
            "f32[1, 18]: 0.5 1 -0.5 1.25 -1.75 -1.5 -0.5 1 0 1.5 2 -0.5 -0.25 0.25 0.5 0 0.5 2",
            "u8[2, 2, 8]: 80 194 136 132 63 12 229 29 221 87 255 106 227 132 58 181 163 175 122 63 165 26 \
             178 173 110 197 48 99 194 109 176 145",
            "f32[4]: 0.25 1 0.75 1",
            "u8[2]: 91 102",
            "",
            "f32[2]: -3 -4",
        ],
        &["f32[1, 2]: 17.8125 6.9375"],
    );
    expect(
        "com.microsoft::MatMulNBits",
        &[int("N", 2), int("K", 40), int("bits", 4), int("block_size", 16)],
        &[
            "f32[1, 1, 40]: 1 -0.25 -1 0.75 -1.5 1.25 -0.25 1.75 -1 -0.5 1.5 1 -2 -0.75 -2 1.5 -0.25 \
             -1.25 1 1.5 -1.75 0 -0.5 1 1.75 0.25 1 -0.75 0.25 0 1 -2 -1 -2 2 0.25 0 0 -2 1.5",
            "u8[2, 3, 8]: 108 165 233 233 89 245 57 221 32 107 21 211 221 41 133 79 120 136 27 223 76 119 \
             4 11 60 90 227 231 115 117 160 213 83 192 104 158 191 137 179 188 6 11 44 52 56 4 63 147",
            "f32[2, 3]: 0.25 1 0.875 0.375 0.5 0.375",
            "u8[2, 2]: 13 9 104 7",
        ],
        &["f32[1, 1, 2]: 66.65625 35.625"],
    );
    expect(
        "com.microsoft::MatMulNBits",
        &[int("N", 2), int("K", 18), int("bits", 4), int("block_size", 16)],
        &[
            "f32[1, 18]: -0.25 -1 -0.25 -1.25 -1.5 -0.75 2 -1.75 0.25 1.75 -0.25 -0.5 0.25 -1.5 0.75 -2 \
             0.25 -1.75",
            "u8[2, 2, 8]: 158 183 139 157 121 153 62 133 165 61 240 184 252 64 127 70 0 15 50 212 37 182 \
             55 17 55 169 134 128 114 65 118 224",
            "f32[2, 2]: 0.5 0.25 0.25 0.75",
            "f32[2, 2]: 0.25 3.25 11.25 6.25",
            "",
            "f32[2]: -0.5 1",
        ],
        &["f32[1, 2]: -25.46875 14.78125"],
    );
    expect(
        "com.microsoft::MatMulNBits",
        &[int("N", 2), int("K", 18), int("bits", 8), int("block_size", 16)],
        &[
            "f32[1, 18]: -2 2 1.75 -1.75 1 -0.5 -1.75 1.25 1.5 -2 -1.75 -1.75 2 1.75 1.5 0.75 -1.75 -1",
            "u8[2, 2, 16]: 17 251 124 227 193 62 77 156 215 235 124 26 254 218 182 101 34 200 52 82 221 \
             160 76 129 156 26 70 194 160 210 188 123 76 99 51 242 7 95 17 225 167 107 202 95 119 92 194 \
             15 140 70 249 58 102 15 127 138 192 113 63 6 233 39 197 235",
            "f32[2, 2]: 0.375 0.25 0.75 0.375",
        ],
        &["f32[1, 2]: 428.9688 -72.5625"],
    );
    expect(
        "com.microsoft::MatMulNBits",
        &[int("N", 2), int("K", 18), int("bits", 8), int("block_size", 16)],
        &[
            "f32[1, 18]: -0.75 0 1 1.5 2 -1.5 1 0 -0.5 -1 -1.75 -0.75 -1.25 1.25 1.75 -0.5 -0.5 1.25",
            "u8[2, 2, 16]: 132 122 26 63 179 228 27 243 81 18 234 134 169 47 232 103 95 189 192 182 59 48 \
             145 85 8 108 198 98 105 174 248 201 37 85 137 112 58 17 166 93 81 242 212 128 232 142 235 \
             155 90 145 177 205 248 66 26 81 147 227 233 127 11 245 59 35",
            "f32[2, 2]: 0.25 0.875 0.625 0.5",
            "u8[2, 2]: 39 3 53 255",
            "",
            "f32[2]: -0.5 4",
        ],
        &["f32[1, 2]: 82.3125 -36.625"],
    );
    expect(
        "com.microsoft::MatMulNBits",
        &[int("N", 2), int("K", 20), int("bits", 2), int("block_size", 16)],
        &[
            "f32[1, 20]: 1.25 0 -1.75 0.75 0.5 -1 -0.25 -0.75 -1.5 0 -0.25 -1.75 -1 0.25 -2 -1.25 -1 -1 2 \
             1.75",
            "u8[2, 2, 4]: 24 58 7 32 242 211 35 226 29 46 165 226 148 123 250 41",
            "f32[2, 2]: 0.75 0.875 0.625 0.75",
            "u8[2, 1]: 9 1",
        ],
        &["f32[1, 2]: 2.59375 -2.5625"],
    );
    expect(
        "com.microsoft::MatMulNBits",
        &[int("N", 2), int("K", 20), int("bits", 2), int("block_size", 16)],
        &[
            "f32[1, 20]: 0 1.75 2 -0.25 -1.5 -1 0.75 1.75 -0.25 1.75 -1.75 -1.5 -0.25 -1.25 -0.75 0.75 \
             1.75 1.25 -1 2",
            "u8[2, 2, 4]: 232 253 167 25 185 152 50 78 39 164 97 5 253 93 112 90",
            "f32[2, 2]: 0.125 0.75 1 0.75",
        ],
        &["f32[1, 2]: -2.03125 2.875"],
    );
    expect(
        "com.microsoft::MatMulNBits",
        &[int("N", 2), int("K", 20), int("bits", 4), int("block_size", 16)],
        &[
            "f32[1, 20]: 0.5 1.5 -2 -0.5 1.25 1.25 -1.25 -0.5 2 -0.25 1.25 -1.75 0.75 -2 0.75 0.75 -1.25 \
             -1.25 -1 2",
            "u8[2, 2, 8]: 0 61 108 137 200 139 141 49 160 147 241 61 25 91 89 120 38 179 222 9 236 20 67 \
             117 101 53 185 217 50 34 132 35",
            "f32[2, 2]: 0.125 1 0.375 0.875",
            "",
            "i32[32]: 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1",
        ],
        &["f32[1, 2]: -16.375 16.09375"],
    );
    expect(
        "com.microsoft::MatMulNBits",
        &[int("N", 2), int("K", 20), int("bits", 4), int("block_size", 16)],
        &[
            "f32[1, 20]: 1.25 -2 0 0.25 -1 0.5 1 -1.75 1.75 0 0.75 2 1.5 -1.75 0 -2 2 -1.75 -1.75 0.75",
            "u8[2, 2, 8]: 158 158 233 69 9 53 112 40 73 178 103 95 61 137 242 47 213 193 148 135 132 24 \
             155 247 179 114 126 214 4 48 248 175",
            "f32[2, 2]: 0.375 0.875 0.375 0.625",
            "f32[2, 2]: 6.25 14.25 4.25 2.25",
            "i32[20]: 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1",
        ],
        &["f32[1, 2]: 54.96094 -41.61719"],
    );
}

#[test]
fn gathered_blocks() {
    expect(
        "com.microsoft::GatherBlockQuantized",
        &[
            int("block_size", 16),
            int("quantize_axis", 1),
            int("gather_axis", 0),
            int("bits", 4),
        ],
        &[
            "u8[3, 9]: 135 88 95 90 247 162 166 92 170 23 9 222 13 255 217 204 2 52 216 107 168 28 44 121 \
             205 130 16",
            "i64[2, 1]: 1 -1",
            "f32[3, 2]: 0.5 0.875 0.25 0.25 1 0.5",
        ],
        &[
            "f32[2, 1, 18]: -0.25 -1.75 0.25 -2 1.5 1.25 1.25 -2 1.75 1.75 0.25 1.25 1 1 -1.5 -2 -1 -1.25 \
             0 5 3 -2 0 2 4 -7 4 -6 1 -1 5 4 -6 0 -4 -3.5",
        ],
    );
    expect(
        "com.microsoft::GatherBlockQuantized",
        &[
            int("block_size", 16),
            int("quantize_axis", 1),
            int("gather_axis", 0),
            int("bits", 4),
        ],
        &[
            "u8[3, 9]: 135 88 95 90 247 162 166 92 170 23 9 222 13 255 217 204 2 52 216 107 168 28 44 121 \
             205 130 16",
            "i32[1]: -1",
            "f32[3, 2]: 0.5 0.875 0.25 0.25 1 0.5",
            "u8[3, 1]: 145 85 102",
        ],
        &["f32[1, 18]: 2 7 5 0 2 4 6 -5 6 -4 3 1 7 6 -4 2 -3 -2.5"],
    );
    expect(
        "com.microsoft::GatherBlockQuantized",
        &[
            int("block_size", 16),
            int("quantize_axis", 1),
            int("gather_axis", 0),
            int("bits", 8),
        ],
        &[
            "u8[3, 18]: 208 227 66 116 172 138 145 248 58 70 194 229 105 92 200 79 121 225 98 16 132 221 \
             212 211 197 229 79 15 182 61 179 198 123 111 139 1 227 177 4 204 223 249 125 38 97 64 240 \
             215 118 23 46 70 185 115",
            "i64[1]: -1",
            "f32[3, 2]: 0.5 0.875 0.25 0.25 1 0.5",
        ],
        &["f32[1, 18]: 99 49 -124 76 95 121 -3 -90 -31 -64 112 87 -10 -105 -82 -58 28.5 -6.5"],
    );
    expect(
        "com.microsoft::GatherBlockQuantized",
        &[int("block_size", 16), int("quantize_axis", 1), int("bits", 8)],
        &[
            "u8[3, 18]: 208 227 66 116 172 138 145 248 58 70 194 229 105 92 200 79 121 225 98 16 132 221 \
             212 211 197 229 79 15 182 61 179 198 123 111 139 1 227 177 4 204 223 249 125 38 97 64 240 \
             215 118 23 46 70 185 115",
            "i64[1]: -1",
            "f32[3, 2]: 0.5 0.875 0.25 0.25 1 0.5",
            "u8[3, 2]: 51 107 35 138 63 222",
        ],
        &["f32[1, 18]: 164 114 -59 141 160 186 62 -25 34 1 177 152 55 -40 -17 7 -18.5 -53.5"],
    );
    expect(
        "com.microsoft::GatherBlockQuantized",
        &[int("block_size", 16), int("quantize_axis", 1), int("bits", 2)],
        &[
            "u8[3, 5]: 186 9 229 204 219 120 9 105 204 220 160 221 116 26 223",
            "i64[1]: -1",
            "f32[3, 2]: 0.5 0.875 0.25 0.25 1 0.5",
        ],
        &["f32[1, 20]: -2 -2 0 0 -1 1 -1 1 -2 -1 1 -1 0 0 -1 -2 0.5 0.5 -0.5 0.5"],
    );
    expect(
        "com.microsoft::GatherBlockQuantized",
        &[int("block_size", 16), int("quantize_axis", 1), int("bits", 2)],
        &[
            "u8[3, 5]: 186 9 229 204 219 120 9 105 204 220 160 221 116 26 223",
            "i64[1]: -1",
            "f32[3, 2]: 0.5 0.875 0.25 0.25 1 0.5",
            "u8[3, 1]: 228 18 251",
        ],
        &["f32[1, 20]: -3 -3 -1 -1 -2 0 -2 0 -3 -2 0 -2 -1 -1 -2 -3 0.5 0.5 -0.5 0.5"],
    );
    expect(
        "com.microsoft::GatherBlockQuantized",
        &[int("block_size", 16), int("quantize_axis", 0), int("gather_axis", 1)],
        &[
            "i4[3, 5]: -8 -5 2 7 3 -2 3 -6 5 -4 3 -7 3 4 6",
            "i64[3]: 4 -5 1",
            "f32[1, 5]: 0.375 0.875 0.75 0.625 0.5",
        ],
        &["f32[3, 3]: 1.5 -3 -4.375 -2 -0.75 2.625 3 1.125 -6.125"],
    );
    expect(
        "com.microsoft::GatherBlockQuantized",
        &[int("block_size", 16), int("quantize_axis", -1), int("gather_axis", 0)],
        &[
            "u4[3, 18]: 8 1 5 9 3 15 7 2 15 15 7 1 2 9 3 2 14 15 14 8 1 13 6 11 7 7 12 4 6 13 4 14 13 12 \
             4 12 0 0 1 3 9 8 6 1 5 9 14 15 3 5 5 11 4 3",
            "i64[1]: 2",
            "f32[3, 2]: 0.875 0.875 0.75 1 0.875 0.875",
            "u4[3, 2]: 5 7 4 5 4 1",
        ],
        &[
            "f32[1, 18]: -3.5 -3.5 -2.625 -0.875 4.375 3.5 1.75 -2.625 0.875 4.375 8.75 9.625 -0.875 \
             0.875 0.875 6.125 2.625 1.75",
        ],
    );
    expect(
        "com.microsoft::GatherBlockQuantized",
        &[int("block_size", 16), int("quantize_axis", -1), int("gather_axis", 0)],
        &[
            "u4[3, 18]: 2 13 14 14 8 8 5 12 6 3 2 12 8 3 5 11 2 0 3 6 4 3 6 0 6 4 1 14 14 4 1 1 2 10 11 \
             12 12 5 4 14 13 11 6 8 3 14 5 12 5 9 3 4 13 8",
            "i64[2]: 2 -4",
            "f32[3, 2]: 0.875 0.625 0.875 1 0.625 1",
        ],
        &[
            "f32[2, 18]: 7.5 3.125 2.5 8.75 8.125 6.875 3.75 5 1.875 8.75 3.125 7.5 3.125 5.625 1.875 2.5 \
             13 8 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0",
        ],
    );
    expect(
        "com.microsoft::GatherBlockQuantized",
        &[int("block_size", 16), int("quantize_axis", -1), int("gather_axis", 0)],
        &[
            "u4[3, 18]: 8 0 3 8 1 14 1 6 10 12 1 3 7 13 7 2 2 4 6 3 12 2 11 10 6 13 4 2 5 3 0 6 0 4 15 10 \
             12 1 15 9 2 8 15 1 6 7 13 5 15 1 13 5 8 10",
            "i32[1]: 2",
            "f16[3, 2]: 0.75 1 0.625 1 0.625 0.75",
        ],
        &[
            "f16[1, 18]: 7.5 0.625 9.375 5.625 1.25 5 9.375 0.625 3.75 4.375 8.125 3.125 9.375 0.625 \
             8.125 3.125 6 7.5",
        ],
    );
}

#[test]
fn operands_with_blocks_are_checked() {
    let sizes = |n: i64, k: i64, block: i64, bits: i64| {
        [("N", n), ("K", k), ("block_size", block), ("bits", bits)].map(|(name, size)| (name, Attribute::Int(size)))
    };
    let a = floats(DType::F32, &[1, 18], &[1.0; 18]);
    let b = ints(DType::U8, &[2, 2, 8], &[7; 32]);
    let scales = || floats(DType::F32, &[2, 2], &[1.0; 4]);
    let product = |sizes: &[(&str, Attribute)], further: &[Option<ir::Tensor>]| {
        let operands = [&[a.clone(), b.clone()], further].concat();
        refusal("com.microsoft::MatMulNBits", sizes, &operands)
    };
    let usual = sizes(2, 18, 16, 4);
    let outside = ints(DType::I32, &[18], &[2; 18]);
    let table = ints(DType::U8, &[3, 9], &[1; 27]);
    let index = ints(DType::I64, &[1], &[0]);
    let gather = |axes: [i64; 2], scales: Option<ir::Tensor>, zeros: Option<ir::Tensor>| {
        let axes = [
            ("gather_axis", Attribute::Int(axes[0])),
            ("quantize_axis", Attribute::Int(axes[1])),
            ("block_size", Attribute::Int(16)),
        ];
        refusal(
            "com.microsoft::GatherBlockQuantized",
            &axes,
            &[table.clone(), index.clone(), scales, zeros],
        )
    };
    let texts = [
        product(&usual, &[]),
        product(&sizes(2, 18, 16, 3), &[scales()]),
        product(&sizes(2, -1, 16, 4), &[scales()]),
        product(&sizes(2, i64::MAX, 16, 4), &[scales()]),
        product(&sizes((1 << 30) - 1, (1 << 30) - 1, 16, 4), &[scales()]),
        product(&sizes(2, 18, 1, 4), &[scales()]),
        product(&sizes(2, 18, 32, 4), &[scales()]),
        product(&usual, std::slice::from_ref(&b)),
        product(&usual, &[scales(), scales(), ints(DType::I32, &[3], &[0; 3])]),
        product(&usual, &[scales(), ints(DType::I8, &[2, 1], &[0; 2])]),
        gather([1, 1], scales(), None),
        gather([0, 1], scales(), None),
        gather([0, 1], floats(DType::F32, &[3, 2], &[1.0; 6]), scales()),
        gather([0, 7], scales(), None),
    ];
    let faults: Vec<_> = texts.iter().map(|text| text.lines().nth(1).unwrap_or("")).collect();
    insta::assert_snapshot!(faults.join("\n"), @r"
      com.microsoft.MatMulNBits: operand 2 is missing
      com.microsoft.MatMulNBits: `bits` = 3 is not supported
      com.microsoft.MatMulNBits: attribute `K` is missing or no size
      com.microsoft.MatMulNBits: attribute `K` is missing or no size
      com.microsoft.MatMulNBits: a tensor of shape [2, 2, 8] cannot have shape [1073741823, 536870912]: number of elements: 32 is not 576460751766552576
      com.microsoft.MatMulNBits: blocks of 1 numbers of 4 bits
      com.microsoft.MatMulNBits: a tensor of shape [2, 2] cannot have shape [2, 1]: number of elements: 4 is not 2
      com.microsoft.MatMulNBits: scales of u8
      com.microsoft.MatMulNBits: the blocks of 18 rows are i32[3]
      com.microsoft.MatMulNBits: zero points of i8
      com.microsoft.GatherBlockQuantized: numbers packed along axis 1, in blocks along axis 1, gathered along axis 1
      com.microsoft.GatherBlockQuantized: parameters [2, 2] of [3, 18] in blocks of 16: 2 is not 3
      com.microsoft.GatherBlockQuantized: parameters [2, 2] of [3, 18] in blocks of 16: 2 is not 3
      com.microsoft.GatherBlockQuantized: axis 7 of a tensor of rank 2
    ");
    let build = model(
        "com.microsoft::MatMulNBits",
        &usual,
        &[a.clone(), b.clone(), scales(), None, outside],
        &["y"],
        false,
    );
    let inputs: Vec<_> = [a, b, scales(), ints(DType::I32, &[18], &[2; 18])]
        .into_iter()
        .flatten()
        .collect();
    let error = evaluate(&build.import(&[]).unwrap(), &inputs).unwrap_err();
    assert!(
        error.to_string().contains("a row belongs to one of 2 blocks"),
        "{error}"
    );
}
