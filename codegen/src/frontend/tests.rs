use std::fs;

use bytes::Bytes;
use prost::Message;

use super::onnx::*;
use super::*;

fn value(name: &str, dims: &[DimensionValue]) -> ValueInfoProto {
    let dim = dims
        .iter()
        .map(|value| DimensionProto {
            value: Some(value.clone()),
        })
        .collect();
    let tensor = TensorTypeProto {
        elem_type: 1,
        shape: Some(TensorShapeProto { dim }),
    };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            value: Some(TypeValue::Tensor(tensor)),
        }),
    }
}

fn node(op_type: &str, input: &[&str], output: &[&str]) -> NodeProto {
    let list = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    NodeProto {
        op_type: op_type.into(),
        input: list(input),
        output: list(output),
        ..Default::default()
    }
}

fn floats(name: &str, values: &[f32]) -> TensorProto {
    let raw_data = values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>().into();
    TensorProto {
        name: name.into(),
        dims: vec![values.len() as i64],
        data_type: 1,
        raw_data,
        ..Default::default()
    }
}

fn graph(nodes: Vec<NodeProto>) -> GraphProto {
    GraphProto {
        node: nodes,
        name: "g".into(),
        input: vec![value(
            "x",
            &[DimensionValue::Param("batch".into()), DimensionValue::Value(3)],
        )],
        output: vec![value("y", &[])],
        ..Default::default()
    }
}

fn model(graph: GraphProto) -> ModelProto {
    let opset_import = vec![OperatorSetIdProto {
        domain: String::new(),
        version: 17,
    }];
    ModelProto {
        ir_version: 8,
        opset_import,
        graph: Some(graph),
        ..Default::default()
    }
}

fn read(proto: &ModelProto) -> Result<Model, Diagnostics> {
    from_bytes(proto.encode_to_vec().into(), "model.onnx")
}

fn error(proto: &ModelProto) -> String {
    read(proto).unwrap_err().to_string()
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: kind.into(),
        ..Default::default()
    }
}

#[test]
fn weights_are_slices_of_the_file() {
    let mut proto = model(graph(vec![node("Add", &["x", "w"], &["y"])]));
    proto
        .graph
        .as_mut()
        .unwrap()
        .initializer
        .push(floats("w", &[1.0, 2.0, 3.0]));
    let data = Bytes::from(proto.encode_to_vec());
    let range = data.as_ptr_range();
    let model = from_bytes(data.clone(), "m").unwrap();
    let (name, tensor) = &model.graph.initializers[0];
    assert_eq!(name, "w");
    assert_eq!(tensor.shape, [3]);
    let TensorData::Bytes(bytes) = &tensor.data else {
        panic!("strings")
    };
    assert!(range.contains(&bytes.as_ptr()), "the weight was copied");
    assert_eq!(model.hash, *blake3::hash(&data).as_bytes());
    let ValueType::Tensor { shape: Some(shape), .. } = model.graph.inputs[0].ty.as_ref().unwrap() else {
        panic!()
    };
    assert_eq!(*shape, [DeclaredDim::Named("batch".into()), DeclaredDim::Fixed(3)]);
}

#[test]
fn nodes_are_brought_into_order() {
    let nodes = vec![
        node("Relu", &["b"], &["y"]),
        node("Neg", &["x"], &["a"]),
        node("Abs", &["x"], &["c"]),
        node("Add", &["a", "c"], &["b"]),
    ];
    let model = read(&model(graph(nodes))).unwrap();
    let order: Vec<_> = model
        .graph
        .nodes
        .iter()
        .map(|n| (n.op_type.as_str(), n.index))
        .collect();
    assert_eq!(order, [("Neg", 1), ("Abs", 2), ("Add", 3), ("Relu", 0)]);
}

#[test]
fn subgraphs_see_the_values_around_them() {
    let branch = |input: &str| GraphProto {
        node: vec![node("Neg", &[input], &["inner"])],
        output: vec![value("inner", &[])],
        ..Default::default()
    };
    let conditional = |then: &str, otherwise: &str| {
        let mut n = node("If", &["x"], &["y"]);
        n.attribute.push(AttributeProto {
            g: Some(branch(then)),
            ..attribute("then_branch", AttributeType::Graph)
        });
        n.attribute.push(AttributeProto {
            g: Some(branch(otherwise)),
            ..attribute("else_branch", AttributeType::Graph)
        });
        n
    };
    // What a branch reads orders the nodes around it.
    let ok = read(&model(graph(vec![
        conditional("x", "late"),
        node("Abs", &["x"], &["late"]),
    ])))
    .unwrap();
    assert_eq!(ok.graph.nodes[0].op_type, "Abs");
    insta::assert_snapshot!(error(&model(graph(vec![conditional("x", "nowhere")]))), @r"
    cannot compile model.onnx
      Neg: nothing defines its operand `nowhere`
        at #0
    ");
}

#[test]
fn functions_are_kept() {
    let mut call = node("Double", &["x"], &["y"]);
    call.domain = "local".into();
    let mut proto = model(graph(vec![call]));
    let mut body = node("Foo", &["a", "a"], &["b"]);
    body.attribute.push(AttributeProto {
        ref_attr_name: "alpha".into(),
        ..attribute("k", AttributeType::Float)
    });
    proto.functions.push(FunctionProto {
        name: "Double".into(),
        domain: "local".into(),
        input: vec!["a".into()],
        output: vec!["b".into()],
        node: vec![body],
        attribute_proto: vec![AttributeProto {
            f: 0.5,
            ..attribute("alpha", AttributeType::Float)
        }],
        ..Default::default()
    });
    let model = read(&proto).unwrap();
    let (id, function) = model.functions.first_key_value().unwrap();
    assert_eq!((id.domain.as_str(), id.name.as_str()), ("local", "Double"));
    assert!(matches!(function.nodes[0].attributes["k"], Attribute::Reference(ref name) if name == "alpha"));
    assert!(matches!(function.attributes["alpha"], Some(Attribute::Float(0.5))));
    assert_eq!(function.opsets[""], 17);
}

#[test]
fn all_findings_are_reported_at_once() {
    let mut proto = model(graph(vec![
        node("Add", &["x", "u"], &["a"]),
        node("Mul", &["a", "x"], &["a"]),
        node("Sub", &["d", "x"], &["c"]),
        node("Div", &["c", "x"], &["d"]),
    ]));
    let g = proto.graph.as_mut().unwrap();
    g.initializer.push(TensorProto {
        dims: vec![4],
        ..floats("w", &[1.0])
    });
    g.initializer.push(floats("w", &[1.0]));
    g.sparse_initializer.push(SparseTensorProto {
        values: Some(floats("s", &[1.0])),
    });
    g.node[1].attribute.push(AttributeProto {
        i: 1,
        ..attribute("axis", AttributeType::Int)
    });
    g.node[1].attribute.push(AttributeProto {
        i: 2,
        ..attribute("axis", AttributeType::Int)
    });
    g.node[2].attribute.push(attribute("value", AttributeType::Tensor));
    proto.opset_import[0].version = 29;
    insta::assert_snapshot!(error(&proto), @r"
    cannot compile model.onnx (12 problems)
      operator set 29 is not supported (1 to 28 are)
        help: convert the model with onnx.version_converter
      sparse initializers are not supported (there are 1, the first is `s`)
      initializer `w`: shape [4] of float32 asks for 16 bytes, the file has 4
      nothing defines the output `y` of the graph `g`
      the value `w` is defined more than once
      Mul: the attribute `axis` (an integer) is given twice
        at #1
      Mul: the value `a` is defined more than once
        at #1
      Mul: it is part of a cycle or uses a result of one
        at #1
      Sub: attribute `value`: it has no value
        at #2
      Sub: it is part of a cycle or uses a result of one
        at #2
      Add: nothing defines its operand `u`
        at #0
      Div: it is part of a cycle or uses a result of one
        at #3
    ");
}

#[test]
fn domains_must_be_imported() {
    let mut n = node("Foo", &["x"], &["y"]);
    n.domain = "com.example".into();
    let mut proto = model(graph(vec![n]));
    insta::assert_snapshot!(error(&proto), @r"
    cannot compile model.onnx
      the model imports no operator set of the domain `com.example`
    ");
    proto.opset_import.push(OperatorSetIdProto {
        domain: "com.example".into(),
        version: 1,
    });
    proto.opset_import.push(OperatorSetIdProto {
        domain: "com.other".into(),
        version: 1,
    });
    // The standard domain goes by two names.
    proto.graph.as_mut().unwrap().node.push(NodeProto {
        domain: "ai.onnx".into(),
        ..node("Neg", &["x"], &["z"])
    });
    let model = read(&proto).unwrap();
    assert_eq!(model.graph.nodes[0].operator(), "com.example.Foo");
    assert_eq!(model.graph.nodes[1].operator(), "Neg");
}

#[test]
fn files_of_other_kinds_are_recognized() {
    let safetensors = [&2u64.to_le_bytes()[..], b"{\"a\": 1}"].concat();
    let files: [(&str, &[u8]); 15] = [
        ("empty", b""),
        ("png", b"\x89PNG\r\n\x1a\n\0\0"),
        ("zip", b"PK\x03\x04\x14\0\0\0"),
        ("gguf", b"GGUF\x03\0\0\0"),
        ("safetensors", &safetensors),
        ("tflite", b"\x1c\0\0\0TFL3\x14\0"),
        ("ort", b"\x1c\0\0\0ORTM\x14\0"),
        ("lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:0"),
        ("pickle", b"\x80\x04\x95\0\0"),
        ("hdf5", b"\x89HDF\r\n\x1a\n"),
        ("html", b"\n<!DOCTYPE html><html>"),
        ("text", b"404: Not Found\n"),
        ("gzip", b"\x1f\x8b\x08\0"),
        ("zeros", &[0; 16]),
        ("no graph", &[0x08, 0x08]),
    ];
    let texts: Vec<_> = files
        .iter()
        .map(|(name, data)| from_bytes(Bytes::copy_from_slice(data), name).unwrap_err().to_string())
        .collect();
    insta::assert_snapshot!(texts.join("\n"), @r"
    cannot compile empty
      the file is empty
    cannot compile png
      this looks like a PNG image, not an ONNX model
    cannot compile zip
      this looks like a ZIP archive, not an ONNX model
        help: PyTorch checkpoints (.pt) and Keras models are such archives: export the model to ONNX
    cannot compile gguf
      this looks like a GGUF file, not an ONNX model
    cannot compile safetensors
      this looks like a safetensors file, not an ONNX model
        help: it holds weights alone: export the model to ONNX
    cannot compile tflite
      this looks like a TensorFlow Lite model, not an ONNX model
        help: convert it to ONNX, for example with tf2onnx
    cannot compile ort
      this looks like an ONNX Runtime model (.ort), not an ONNX model
        help: use the ONNX model that it was made from
    cannot compile lfs
      this looks like a Git LFS pointer, not an ONNX model
        help: fetch the content itself with `git lfs pull`
    cannot compile pickle
      this looks like a Python pickle, not an ONNX model
        help: PyTorch checkpoints are pickles: export the model to ONNX
    cannot compile hdf5
      this looks like an HDF5 file, not an ONNX model
        help: Keras stores models this way: export the model to ONNX
    cannot compile html
      this looks like an HTML or XML page, not an ONNX model
        help: a download may have stored an error page in place of the model
    cannot compile text
      this looks like text, not an ONNX model
    cannot compile gzip
      this looks like a gzip archive, not an ONNX model
        help: decompress it first
    cannot compile zeros
      this is not an ONNX model, or it is damaged (failed to decode Protobuf message: invalid tag value: 0)
    cannot compile no graph
      this is not an ONNX model: it holds no graph
    ");
}

#[test]
fn damage_is_an_error() {
    let mut proto = model(graph(vec![node("Add", &["x", "w"], &["y"])]));
    proto.graph.as_mut().unwrap().initializer.push(floats("w", &[1.0; 40]));
    let data = Bytes::from(proto.encode_to_vec());
    // The whole graph lies in one field, so every proper prefix is an error or a model without opset imports.
    for end in 0..data.len() {
        assert!(from_bytes(data.slice(..end), "m").is_err(), "{end}");
    }
    insta::assert_snapshot!(from_bytes(data.slice(..data.len() - 30), "m").unwrap_err(), @r"
    cannot compile m
      the file is truncated: it has 211 bytes and describes 237
        help: fetch or export the model again
    ");
    // Flipping bits must never panic, whatever comes of it.
    for i in 0..data.len() * 8 {
        let mut damaged = data.to_vec();
        damaged[i / 8] ^= 1 << (i % 8);
        let _ = from_bytes(damaged.into(), "m");
    }
}

#[test]
fn nesting_is_bounded() {
    let mut inner = graph(vec![node("Neg", &["x"], &["y"])]);
    for _ in 0..200 {
        let mut n = node("If", &["x"], &["y"]);
        n.attribute.push(AttributeProto {
            g: Some(inner),
            ..attribute("then_branch", AttributeType::Graph)
        });
        inner = graph(vec![n]);
    }
    assert!(error(&model(inner)).contains("recursion limit reached"));
}

fn external(entries: &[(&str, &str)]) -> ModelProto {
    let mut proto = model(graph(vec![node("Add", &["x", "w"], &["y"])]));
    let external_data = entries
        .iter()
        .map(|(k, v)| StringStringEntryProto {
            key: k.to_string(),
            value: v.to_string(),
        })
        .collect();
    let tensor = TensorProto {
        raw_data: Bytes::new(),
        data_location: 1,
        external_data,
        ..floats("w", &[1.0, 2.0])
    };
    proto.graph.as_mut().unwrap().initializer.push(tensor);
    proto
}

#[test]
fn external_data_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    let proto = external(&[("location", "w.bin"), ("offset", "4"), ("length", "8")]);
    fs::write(&path, proto.encode_to_vec()).unwrap();
    fs::write(folder.path().join("w.bin"), [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).unwrap();
    let first = load(&path).unwrap();
    assert_eq!(
        first.graph.initializers[0].1.data,
        TensorData::Bytes(Bytes::from_static(&[1, 2, 3, 4, 5, 6, 7, 8]))
    );
    assert_eq!(first.files, [path.clone(), folder.path().join("w.bin")]);
    // The hash covers what is used of the external file.
    fs::write(folder.path().join("w.bin"), [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 7]).unwrap();
    assert_ne!(first.hash, load(&path).unwrap().hash);
}

#[test]
fn external_data_is_confined() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    fs::write(folder.path().join("w.bin"), [0; 12]).unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    let cases: [&[(&str, &str)]; 8] = [
        &[],
        &[("location", "w.bin"), ("offset", "8")],
        &[("location", "w.bin"), ("offset", "18446744073709551615")],
        &[("location", "w.bin"), ("offset", "-4")],
        &[("location", "w.bin"), ("length", "12")],
        &[("location", "/etc/passwd")],
        &[("location", "../w.bin")],
        &[("location", "sub")],
    ];
    let mut texts = Vec::new();
    for case in cases {
        fs::write(&path, external(case).encode_to_vec()).unwrap();
        texts.push(
            load(&path)
                .unwrap_err()
                .to_string()
                .replace(&*path.to_string_lossy(), "m.onnx"),
        );
    }
    texts.push(error(&external(&[("location", "w.bin")])));
    insta::assert_snapshot!(texts.join("\n"), @r"
    cannot compile m.onnx
      initializer `w`: external data: no location is given
    cannot compile m.onnx
      initializer `w`: external data: 8 bytes at 8 of `w.bin`, which has 12 bytes
    cannot compile m.onnx
      initializer `w`: external data: 8 bytes at 18446744073709551615 of `w.bin`, which has 12 bytes
    cannot compile m.onnx
      initializer `w`: external data: offset `-4` is no size
    cannot compile m.onnx
      initializer `w`: shape [2] of float32 asks for 8 bytes, the file has 12
    cannot compile m.onnx
      initializer `w`: external data: location `/etc/passwd` is not a path below the folder of the model
    cannot compile m.onnx
      initializer `w`: external data: location `../w.bin` is not a path below the folder of the model
    cannot compile m.onnx
      initializer `w`: external data `sub`: it is a directory
    cannot compile model.onnx
      initializer `w`: external data in `w.bin`, but the model was not loaded from a file
    ");
}

#[test]
fn paths_that_are_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_string_lossy().into_owned();
    let missing = load(folder.path().join("missing.onnx"))
        .unwrap_err()
        .to_string()
        .replace(&place, "DIR");
    assert!(missing.starts_with("cannot read DIR/missing.onnx: "), "{missing}");
    let directory = load(folder.path()).unwrap_err().to_string().replace(&place, "DIR");
    assert_eq!(directory, "cannot read DIR: it is a directory");
}

/// Loads every model of the folder that `ONNXIDE_MODELS` names and prints how long each took.
#[test]
#[ignore = "needs a folder of models"]
fn load_a_folder() {
    let mut folders = vec![PathBuf::from(
        std::env::var_os("ONNXIDE_MODELS").expect("ONNXIDE_MODELS"),
    )];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "onnx") {
                let start = std::time::Instant::now();
                let model = load(&path).unwrap_or_else(|e| panic!("{e}"));
                println!(
                    "{:>8.3} s  {:>5} nodes  {}",
                    start.elapsed().as_secs_f64(),
                    model.graph.nodes.len(),
                    model.name
                );
                count += 1;
            }
        }
    }
    assert!(count > 0, "no models found");
}
