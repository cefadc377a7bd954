//! What the outputs of Magika's model `standard_v3_3` stand for, and when to believe them.
//!
//! The table repeats facts of the model's configuration, which the Python package `magika` 1.0.3 (Apache-2.0) ships as
//! `config.min.json` and `content_types_kb.min.json`: the order of the labels, whether a type is text, the score from
//! which a label is trusted where it is not one half, and the two labels that have another name for the user.

/// Number of content types that the model tells apart.
pub(crate) const COUNT: usize = 214;

/// Content type that one output of the model stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label {
    name: &'static str,
    is_text: bool,
    /// Lowest score at which the label is trusted.
    threshold: f32,
}

impl Label {
    const fn from(self, threshold: f32) -> Self {
        Self { threshold, ..self }
    }

    const fn printed_as(self, name: &'static str) -> Self {
        Self { name, ..self }
    }
}

const fn text(name: &'static str) -> Label {
    Label {
        name,
        is_text: true,
        threshold: 0.5,
    }
}

const fn binary(name: &'static str) -> Label {
    Label {
        name,
        is_text: false,
        threshold: 0.5,
    }
}

/// What to say of a file after a look at the scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// Name of the content type; `txt` or `unknown` where the model is not sure enough.
    pub(crate) label: &'static str,
    /// Probability of the most likely label.
    pub(crate) score: f32,
    /// The most likely label where it is not trusted.
    pub(crate) guess: Option<&'static str>,
}

/// Picks the most likely label. Where its score is below the label's threshold, only text or not is believed.
pub(crate) fn decide(scores: &[f32; COUNT]) -> Verdict {
    let (best, &score) = scores
        .iter()
        .enumerate()
        .rev()
        .max_by(|a, b| a.1.total_cmp(b.1))
        .expect("there are labels");
    let label = LABELS[best];
    if score >= label.threshold {
        return Verdict {
            label: label.name,
            score,
            guess: None,
        };
    }
    let generic = if label.is_text { "txt" } else { "unknown" };
    Verdict {
        label: generic,
        score,
        guess: (label.name != generic).then_some(label.name),
    }
}

static LABELS: [Label; COUNT] = [
    binary("3gp"),
    binary("ace"),
    binary("ai"),
    text("aidl"),
    binary("apk"),
    binary("applebplist"),
    text("appleplist"),
    text("asm"),
    text("asp"),
    text("autohotkey"),
    text("autoit"),
    text("awk"),
    text("batch"),
    text("bazel"),
    text("bib"),
    binary("bmp"),
    binary("bzip"),
    text("c"),
    binary("cab"),
    binary("cat"),
    binary("chm"),
    text("clojure"),
    text("cmake"),
    text("cobol"),
    binary("coff"),
    text("coffeescript"),
    text("cpp"),
    binary("crt").from(0.9),
    binary("crx"),
    text("cs"),
    text("csproj"),
    text("css"),
    text("csv"),
    text("dart"),
    binary("deb"),
    binary("dex"),
    binary("dicom"),
    text("diff"),
    text("dm"),
    binary("dmg"),
    binary("doc"),
    text("dockerfile"),
    binary("docx"),
    binary("dsstore"),
    binary("dwg"),
    text("dxf"),
    binary("elf"),
    text("elixir"),
    binary("emf"),
    text("eml"),
    binary("epub"),
    text("erb"),
    text("erlang"),
    binary("flac"),
    binary("flv"),
    text("fortran"),
    text("gemfile"),
    text("gemspec"),
    binary("gif"),
    text("gitattributes"),
    text("gitmodules"),
    text("go"),
    text("gradle"),
    text("groovy"),
    binary("gzip"),
    binary("h5"),
    text("handlebars").from(0.9),
    text("haskell"),
    text("hcl"),
    binary("hlp"),
    text("htaccess"),
    text("html"),
    binary("icns"),
    binary("ico"),
    text("ics"),
    text("ignorefile").from(0.95),
    text("ini"),
    text("internetshortcut"),
    text("ipynb"),
    binary("iso"),
    binary("jar"),
    text("java"),
    binary("javabytecode"),
    text("javascript"),
    text("jinja"),
    binary("jp2"),
    binary("jpeg"),
    text("json"),
    text("jsonl"),
    text("julia"),
    text("kotlin"),
    text("latex").from(0.95),
    binary("lha"),
    text("lisp"),
    binary("lnk"),
    text("lua"),
    text("m3u"),
    text("m4"),
    binary("macho"),
    text("makefile"),
    text("markdown").from(0.75),
    text("matlab"),
    text("mht"),
    binary("midi"),
    binary("mkv"),
    binary("mp3"),
    binary("mp4"),
    binary("mscompress"),
    binary("msi"),
    text("mum"),
    binary("npy"),
    binary("npz"),
    binary("nupkg"),
    text("objectivec"),
    text("ocaml").from(0.9),
    binary("odp"),
    binary("ods"),
    binary("odt"),
    binary("ogg"),
    binary("one"),
    binary("onnx"),
    binary("otf"),
    binary("outlook"),
    binary("parquet"),
    text("pascal").from(0.95),
    binary("pcap"),
    binary("pdb"),
    binary("pdf"),
    binary("pebin"),
    text("pem"),
    text("perl"),
    text("php"),
    binary("pickle"),
    binary("png"),
    text("po"),
    binary("postscript"),
    text("powershell"),
    binary("ppt"),
    binary("pptx"),
    text("prolog"),
    text("proteindb"),
    text("proto"),
    binary("psd"),
    text("python"),
    binary("pythonbytecode"),
    binary("pytorch"),
    binary("qt"),
    text("r").from(0.9),
    binary("randombytes").printed_as("unknown"),
    text("randomtxt").printed_as("txt"),
    binary("rar"),
    text("rdf"),
    binary("rpm"),
    text("rst").from(0.9),
    text("rtf"),
    text("ruby"),
    text("rust"),
    text("scala"),
    text("scss"),
    binary("sevenzip"),
    text("sgml"),
    text("shell"),
    text("smali"),
    binary("snap"),
    text("solidity"),
    text("sql").from(0.9),
    binary("sqlite"),
    binary("squashfs"),
    text("srt"),
    binary("stlbinary"),
    text("stltext"),
    text("sum"),
    text("svg"),
    binary("swf"),
    text("swift"),
    binary("tar"),
    text("tcl"),
    text("textproto"),
    binary("tga"),
    binary("thumbsdb"),
    binary("tiff"),
    text("toml"),
    binary("torrent"),
    text("tsv").from(0.9),
    binary("ttf"),
    text("twig"),
    text("txt"),
    text("typescript"),
    text("vba"),
    text("vcxproj"),
    text("verilog"),
    text("vhdl"),
    text("vtt"),
    text("vue"),
    binary("wasm"),
    binary("wav"),
    binary("webm"),
    binary("webp"),
    text("winregistry"),
    binary("wmf"),
    binary("woff"),
    binary("woff2"),
    binary("xar"),
    binary("xls"),
    binary("xlsb"),
    binary("xlsx"),
    text("xml"),
    binary("xpi"),
    binary("xz"),
    text("yaml"),
    text("yara"),
    text("zig").from(0.9),
    binary("zip"),
    binary("zlibstream"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(name: &str, score: f32) -> Verdict {
        let mut scores = [0.0; COUNT];
        let index = LABELS.iter().position(|label| label.name == name).expect("a label");
        scores[index] = score;
        decide(&scores)
    }

    #[test]
    fn trusts_a_label_from_its_threshold_on() {
        assert_eq!(
            verdict("rust", 0.5),
            Verdict {
                label: "rust",
                score: 0.5,
                guess: None
            }
        );
        assert_eq!(
            verdict("rust", 0.49),
            Verdict {
                label: "txt",
                score: 0.49,
                guess: Some("rust")
            }
        );
        assert_eq!(
            verdict("markdown", 0.74),
            Verdict {
                label: "txt",
                score: 0.74,
                guess: Some("markdown")
            }
        );
        assert_eq!(
            verdict("elf", 0.3),
            Verdict {
                label: "unknown",
                score: 0.3,
                guess: Some("elf")
            }
        );
    }

    #[test]
    fn has_no_guess_where_the_label_is_the_generic_one() {
        assert_eq!(verdict("txt", 0.2).guess, None);
        assert_eq!(
            verdict("unknown", 0.2),
            Verdict {
                label: "unknown",
                score: 0.2,
                guess: None
            }
        );
    }

    #[test]
    fn takes_the_first_of_equal_scores() {
        assert_eq!(decide(&[0.5; COUNT]).label, "3gp");
    }
}
