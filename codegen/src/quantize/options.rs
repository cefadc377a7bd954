//! What a user may ask for.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::Observer;

/// How a model in floats is quantized when it is compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantize {
    pub(super) scheme: Scheme,
    pub(super) calibration: Option<PathBuf>,
    pub(super) observer: Option<Observer>,
    pub(super) max_drift: Option<MaxDrift>,
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
}

impl Scheme {
    /// All of them.
    pub const ALL: [Scheme; 2] = [Scheme::Int8, Scheme::Int8Dynamic];

    /// The name that options give it.
    pub const fn name(self) -> &'static str {
        match self {
            Scheme::Int8 => "int8",
            Scheme::Int8Dynamic => "int8-dynamic",
        }
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
            let names = Scheme::ALL.map(|scheme| format!("`{scheme}`")).join(" and ");
            format!("unknown quantization `{text}`; the known ones are {names}")
        })
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

impl Quantize {
    /// Quantization to a scheme.
    pub fn new(scheme: Scheme) -> Quantize {
        Quantize {
            scheme,
            calibration: None,
            observer: None,
            max_drift: None,
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

    /// Says where the calibration data is; without scales to choose, it is what drift is measured with.
    #[must_use]
    pub fn calibration(mut self, path: impl Into<PathBuf>) -> Quantize {
        self.calibration = Some(path.into());
        self
    }

    /// Says how the ranges of activations are chosen. The default is [`Observer::Mse`]. [`Scheme::Int8Dynamic`] chooses none, and
    /// compiling with both is an error.
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

/// The options of the command, with the name of the file of the calibration alone.
impl fmt::Display for Quantize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--quantize {}", self.scheme)?;
        if let Some(name) = self.calibration.as_ref().and_then(|path| path.file_name()) {
            write!(f, " --calibration {}", name.to_string_lossy())?;
        }
        if let Some(observer) = self.observer.filter(|&observer| observer != Observer::default()) {
            write!(f, " --observer {observer}")?;
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
            "unknown quantization `int3`; the known ones are `int8` and `int8-dynamic`"
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
    fn options_are_those_of_the_command() {
        let options = Quantize::int8("/data/calib.npz")
            .observer(Observer::Entropy)
            .max_drift(MaxDrift::new(0.05).unwrap());
        assert_eq!(
            options.to_string(),
            "--quantize int8 --calibration calib.npz --observer entropy --max-drift 0.05"
        );
        assert_eq!(Quantize::int8_dynamic().to_string(), "--quantize int8-dynamic");
    }
}
