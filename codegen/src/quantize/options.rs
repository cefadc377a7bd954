//! What a user may ask for.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::Observer;
use crate::diagnostics::Diagnostic;

/// How a model in floats is quantized when it is compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantize {
    pub(super) scheme: Scheme,
    pub(super) calibration: Option<PathBuf>,
    pub(super) observer: Option<Observer>,
    pub(super) max_drift: Option<MaxDrift>,
    pub(super) block: Option<BlockRows>,
    pub(super) smooth: Option<Smooth>,
    pub(super) equalize: bool,
}

/// To what a model is quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Matrix products and convolutions with constant weights multiply numbers of 8 bits. The scales of what they read are
    /// chosen from calibration data.
    Int8,
    /// Matrix products with constant weights multiply numbers of 8 bits. What they read has a scale for each row, which the
    /// run computes.
    Int8Dynamic,
    /// Constant weights of matrix products have 8 bits, and so have tables of rows that are gathered. Products are of floats.
    Int8Weights,
    /// Constant weights of matrix products have 4 bits in blocks, and tables of rows that are gathered have 8. Products are of
    /// floats.
    Int4,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Scheme; 4] = [Scheme::Int8, Scheme::Int8Dynamic, Scheme::Int8Weights, Scheme::Int4];

    /// The name that options give it.
    pub const fn name(self) -> &'static str {
        match self {
            Scheme::Int8 => "int8",
            Scheme::Int8Dynamic => "int8-dynamic",
            Scheme::Int8Weights => "int8-weights",
            Scheme::Int4 => "int4",
        }
    }

    /// Whether weights alone are quantized.
    pub(super) const fn is_of_weights(self) -> bool {
        matches!(self, Scheme::Int8Weights | Scheme::Int4)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scheme {
    type Err = String;

    fn from_str(text: &str) -> Result<Scheme, String> {
        let known = Scheme::ALL.into_iter().find(|scheme| scheme.name() == text);
        known.ok_or_else(|| {
            let [others @ .., last] = Scheme::ALL.map(|scheme| format!("`{scheme}`"));
            let others = others.join(", ");
            format!("unknown quantization `{text}`; the known ones are {others} and {last}")
        })
    }
}

/// How many weights of an output that follow each other have one scale: 16, 32, 64, 128 or 256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockRows(usize);

impl BlockRows {
    /// A number of rows.
    ///
    /// # Errors
    ///
    /// There are no such blocks.
    pub fn new(rows: usize) -> Result<BlockRows, String> {
        match [16, 32, 64, 128, 256].contains(&rows) {
            true => Ok(BlockRows(rows)),
            false => Err(format!(
                "there are no blocks of {rows} rows; expected 16, 32, 64, 128 or 256"
            )),
        }
    }

    /// The number.
    pub fn get(self) -> usize {
        self.0
    }
}

impl Default for BlockRows {
    fn default() -> BlockRows {
        BlockRows(32)
    }
}

impl fmt::Display for BlockRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for BlockRows {
    type Err = String;

    fn from_str(text: &str) -> Result<BlockRows, String> {
        let rows = text.parse::<usize>().ok();
        rows.and_then(|rows| BlockRows::new(rows).ok())
            .ok_or_else(|| format!("there are no blocks of `{text}` rows; expected 16, 32, 64, 128 or 256"))
    }
}

/// A bound of how far the outputs of a quantized model may be from those in floats: the root of the ratio of the squares of
/// the differences to those of the outputs, over samples of the calibration data. 0.1 is a ratio of signal to noise of 20 dB,
/// 0.01 one of 40 dB. The drift of an output that is not of floats is the fraction of its elements that differ, and that of one
/// whose shape has changed is infinite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MaxDrift(u64);

impl MaxDrift {
    /// A bound, greater than 0 and less than 1.
    ///
    /// # Errors
    ///
    /// The number is no such bound.
    pub fn new(drift: f64) -> Result<MaxDrift, String> {
        match drift > 0.0 && drift < 1.0 {
            true => Ok(MaxDrift(drift.to_bits())),
            false => Err(format!(
                "a drift of {drift} is no bound; expected a number between 0 and 1, such as 0.05"
            )),
        }
    }

    /// The number.
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

impl fmt::Display for MaxDrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl FromStr for MaxDrift {
    type Err = String;

    fn from_str(text: &str) -> Result<MaxDrift, String> {
        MaxDrift::new(text.parse().unwrap_or(f64::NAN))
            .map_err(|_| format!("`{text}` is no bound of a drift; expected a number between 0 and 1, such as 0.05"))
    }
}

/// Which share of the differences between the channels that a product reads goes into its weights, as an exponent between 0 and
/// 1: a channel whose greatest magnitude is `x`, with weights of at most `w`, is divided by `x^share / w^(1 - share)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Smooth(u64);

impl Smooth {
    /// A share, greater than 0 and less than 1.
    ///
    /// # Errors
    ///
    /// The number is no such share.
    pub fn new(share: f64) -> Result<Smooth, String> {
        match share > 0.0 && share < 1.0 {
            true => Ok(Smooth(share.to_bits())),
            false => Err(format!(
                "{share} is no share that weights take; expected a number between 0 and 1, such as 0.5"
            )),
        }
    }

    /// The number.
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

impl fmt::Display for Smooth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl FromStr for Smooth {
    type Err = String;

    fn from_str(text: &str) -> Result<Smooth, String> {
        Smooth::new(text.parse().unwrap_or(f64::NAN)).map_err(|_| {
            format!("`{text}` is no share that weights take; expected a number between 0 and 1, such as 0.5")
        })
    }
}

impl Quantize {
    /// Quantization to a scheme.
    pub fn new(scheme: Scheme) -> Quantize {
        Quantize {
            scheme,
            calibration: None,
            observer: None,
            max_drift: None,
            block: None,
            smooth: None,
            equalize: false,
        }
    }

    /// Matrix products and convolutions of numbers of 8 bits, whose scales are chosen from calibration data: an archive of
    /// NumPy arrays (`numpy.savez`), or a folder of such, with an array `in:NAME` or `NAME` for every input.
    ///
    /// An array is an input as it is, or several one after another along its first axis. Some hundred samples of what the
    /// model is going to see are enough; their number decides how long the compilation takes. The module is the same for
    /// the same data, on any machine.
    pub fn int8(calibration: impl Into<PathBuf>) -> Quantize {
        Quantize::new(Scheme::Int8).calibration(calibration)
    }

    /// Matrix products of numbers of 8 bits, whose scales the run computes for every row. It needs no data.
    pub fn int8_dynamic() -> Quantize {
        Quantize::new(Scheme::Int8Dynamic)
    }

    /// Weights of matrix products, and tables of rows that are gathered, in 8 bits; products are of floats. It needs no data.
    /// Without [`Quantize::block`], each output of a product has one scale.
    pub fn int8_weights() -> Quantize {
        Quantize::new(Scheme::Int8Weights)
    }

    /// Weights of matrix products in 4 bits, with a scale and a zero point for every block of 32 rows unless
    /// [`Quantize::block`] says otherwise, and tables of rows that are gathered in 8 bits; products are of floats.
    ///
    /// It needs no data. With [`Quantize::calibration`], weights are rounded so that products have the least error on the
    /// samples (GPTQ, Frantar et al., arXiv 2210.17323), rather than to the nearest numbers.
    pub fn int4() -> Quantize {
        Quantize::new(Scheme::Int4)
    }

    /// Says where the calibration data is; without scales to choose, it is what drift is measured with.
    #[must_use]
    pub fn calibration(mut self, path: impl Into<PathBuf>) -> Quantize {
        self.calibration = Some(path.into());
        self
    }

    /// Says how many weights of an output that follow each other have one scale, which [`Scheme::Int4`] and
    /// [`Scheme::Int8Weights`] may be asked for. Compiling with another scheme is an error.
    #[must_use]
    pub fn block(mut self, rows: BlockRows) -> Quantize {
        self.block = Some(rows);
        self
    }

    /// Divides channels of what matrix products read by factors that their weights are multiplied with, so that channels of large
    /// numbers do not decide about the scale of all (SmoothQuant, Xiao et al., arXiv 2211.10438). [`Scheme::Int8`] and
    /// [`Scheme::Int8Dynamic`] have such scales, and the samples show the channels: compiling with another scheme or without
    /// calibration data is an error.
    #[must_use]
    pub fn smooth(mut self, share: Smooth) -> Quantize {
        self.smooth = Some(share);
        self
    }

    /// Divides channels between convolutions by factors that the weights behind them are multiplied with, so that both sides
    /// have weights of about the same size (cross-layer equalization, Nagel et al., arXiv 1906.04721). It is for
    /// [`Scheme::Int8`]; compiling with another scheme is an error.
    ///
    /// What has bounds between convolutions, as `Relu6` has, gets one for each channel.
    #[must_use]
    pub fn equalize(mut self, equalize: bool) -> Quantize {
        self.equalize = equalize;
        self
    }

    /// Says how the ranges of activations are chosen. The default is [`Observer::Mse`]. Only [`Scheme::Int8`] chooses any, and
    /// compiling with another scheme is an error.
    #[must_use]
    pub fn observer(mut self, observer: Observer) -> Quantize {
        self.observer = Some(observer);
        self
    }

    /// Bounds the drift of the outputs over at most 32 samples, which are spread evenly over the calibration data: layers that
    /// do the most harm stay in floats until it is met. This runs the model some more times, for every layer once.
    #[must_use]
    pub fn max_drift(mut self, drift: MaxDrift) -> Quantize {
        self.max_drift = Some(drift);
        self
    }

    /// To what the model is quantized.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Where the calibration data is.
    pub fn data(&self) -> Option<&Path> {
        self.calibration.as_deref()
    }
}

impl Quantize {
    /// Finds options that the scheme has nothing to do with.
    pub(super) fn check(&self) -> Result<(), Box<Diagnostic>> {
        let scheme = self.scheme;
        if let Some(observer) = self.observer
            && scheme != Scheme::Int8
        {
            let finding = Diagnostic::new(format!("the observer {observer} has no ranges to choose in {scheme}"));
            let why = match scheme {
                Scheme::Int8Dynamic => "each run computes the ranges",
                _ => "what products read stays in floats",
            };
            return Err(Box::new(finding.help(format!("leave it out: {why}"))));
        }
        if let Some(rows) = self.block
            && !scheme.is_of_weights()
        {
            let finding = Diagnostic::new(format!("there are no blocks of {rows} rows in {scheme}"));
            let help = "leave it out: each output has one scale; int4 and int8-weights have blocks";
            return Err(Box::new(finding.help(help)));
        }
        if let Some(share) = self.smooth {
            if scheme.is_of_weights() {
                let finding = Diagnostic::new(format!("there is nothing to smooth in {scheme}"));
                return Err(Box::new(
                    finding.help("leave it out: what products read stays in floats"),
                ));
            }
            if self.calibration.is_none() {
                let finding = Diagnostic::new(format!("smoothing with {share} needs calibration data"));
                return Err(Box::new(
                    finding.help("give samples of the inputs, which show the sizes of channels"),
                ));
            }
        }
        if self.equalize && scheme != Scheme::Int8 {
            let finding = Diagnostic::new(format!("there are no convolutions to equalize in {scheme}"));
            return Err(Box::new(
                finding.help("leave it out: int8 alone quantizes convolutions"),
            ));
        }
        Ok(())
    }
}

/// The options of the command, with the name of the file of the calibration alone.
impl fmt::Display for Quantize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--quantize {}", self.scheme)?;
        if let Some(name) = self.calibration.as_ref().and_then(|path| path.file_name()) {
            write!(f, " --calibration {}", name.to_string_lossy())?;
        }
        if let Some(rows) = self.block {
            write!(f, " --block {rows}")?;
        }
        if let Some(observer) = self.observer.filter(|&observer| observer != Observer::default()) {
            write!(f, " --observer {observer}")?;
        }
        if let Some(share) = self.smooth {
            write!(f, " --smooth {share}")?;
        }
        if self.equalize {
            f.write_str(" --equalize")?;
        }
        if let Some(drift) = self.max_drift {
            write!(f, " --max-drift {drift}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_have_names() {
        for scheme in Scheme::ALL {
            assert_eq!(scheme.to_string().parse(), Ok(scheme));
        }
        assert_eq!(
            "int3".parse::<Scheme>().unwrap_err(),
            "unknown quantization `int3`; the known ones are `int8`, `int8-dynamic`, `int8-weights` and `int4`"
        );
    }

    #[test]
    fn drifts_are_fractions() {
        assert_eq!("0.05".parse::<MaxDrift>().unwrap().get(), 0.05);
        for text in ["0", "1", "-0.5", "nan", "x", ""] {
            assert!(
                text.parse::<MaxDrift>().unwrap_err().contains("between 0 and 1"),
                "{text}"
            );
        }
    }

    #[test]
    fn shares_are_fractions() {
        assert_eq!("0.75".parse::<Smooth>().unwrap().get(), 0.75);
        for text in ["0", "1", "-0.5", "nan", "x", ""] {
            let error = text.parse::<Smooth>().unwrap_err();
            assert!(error.contains("between 0 and 1"), "{text}: {error}");
        }
    }

    #[test]
    fn blocks_are_powers_of_two() {
        assert_eq!("128".parse::<BlockRows>().unwrap().get(), 128);
        for text in ["0", "8", "48", "512", "-32", "x", ""] {
            let error = text.parse::<BlockRows>().unwrap_err();
            assert!(error.ends_with("expected 16, 32, 64, 128 or 256"), "{error}");
        }
    }

    #[test]
    fn options_are_those_of_the_command() {
        let options = Quantize::int8("/data/calib.npz")
            .observer(Observer::Entropy)
            .smooth(Smooth::new(0.5).unwrap())
            .equalize(true)
            .max_drift(MaxDrift::new(0.05).unwrap());
        assert_eq!(
            options.to_string(),
            "--quantize int8 --calibration calib.npz --observer entropy --smooth 0.5 --equalize --max-drift 0.05"
        );
        assert_eq!(Quantize::int8_dynamic().to_string(), "--quantize int8-dynamic");
        let options = Quantize::int4().block("64".parse().unwrap());
        assert_eq!(options.to_string(), "--quantize int4 --block 64");
    }
}
