//! A module for several threads gives the outputs of the one for one thread, to the bit, whatever the threads are.

use onnxide_generated::{bert_tiny, bert_tiny_threads};
use onnxide_runtime::isa::Level;
use onnxide_runtime::team::{Caller, Executor, Pool, process};
use onnxide_runtime::tensor::TensorView;
use std::thread;

/// Threads that live as long as a call, as a program without a pool might have them.
struct Scoped;

impl Executor for Scoped {
    fn run(&self, threads: usize, task: &(dyn Fn(usize) + Sync)) {
        thread::scope(|scope| {
            for number in 1..threads {
                scope.spawn(move || task(number));
            }
            task(0);
        });
    }
}

/// Token numbers of some sentences.
struct Sentences {
    shape: [usize; 2],
    ids: Vec<i64>,
    mask: Vec<i64>,
    types: Vec<i64>,
}

impl Sentences {
    fn new(batch: usize, sequence: usize) -> Self {
        let numbers = 0..(batch * sequence) as i64;
        Sentences {
            shape: [batch, sequence],
            ids: numbers.clone().map(|number| number * 37 % 1000).collect(),
            mask: numbers.clone().map(|number| i64::from(number % 7 != 6)).collect(),
            types: numbers.map(|number| number % 2).collect(),
        }
    }

    fn views(&self) -> [TensorView<'_, i64, 2>; 3] {
        [&self.ids, &self.mask, &self.types].map(|data| TensorView::new(self.shape, data).unwrap())
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn expected(level: Level, sentences: &Sentences) -> [Vec<u32>; 2] {
    let mut model = bert_tiny::Model::boxed();
    model.set_isa(level);
    let [ids, mask, types] = sentences.views();
    let outputs = model.run(ids, mask, types).unwrap();
    [
        bits(outputs.last_hidden_state.data()),
        bits(outputs.pooler_output.data()),
    ]
}

fn run_on(model: &mut bert_tiny_threads::Model, executor: &dyn Executor, sentences: &Sentences) -> [Vec<u32>; 2] {
    let [ids, mask, types] = sentences.views();
    let outputs = model.run_on(executor, ids, mask, types).unwrap();
    [
        bits(outputs.last_hidden_state.data()),
        bits(outputs.pooler_output.data()),
    ]
}

#[test]
fn outputs_are_the_same_to_the_bit() {
    let mut model = bert_tiny_threads::Model::boxed();
    let pools = [Pool::new(1), Pool::new(2), Pool::new(4)];
    for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
        model.set_isa(level);
        for (batch, sequence) in [(1, 1), (1, 31), (1, 64), (4, 64), (3, 17)] {
            let sentences = Sentences::new(batch, sequence);
            let expected = expected(level, &sentences);
            let mut executors: Vec<&dyn Executor> = vec![&Caller, &Scoped, process()];
            executors.extend(pools.iter().map(|pool| pool as &dyn Executor));
            for (number, executor) in executors.into_iter().enumerate() {
                let actual = run_on(&mut model, executor, &sentences);
                assert!(actual == expected, "{level:?}, {batch} x {sequence}, executor {number}");
            }
        }
    }
}

#[test]
fn models_on_many_threads_share_the_pool_of_the_process() {
    let sentences = Sentences::new(2, 40);
    let expected = expected(Level::detect(), &sentences);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut model = bert_tiny_threads::Model::boxed();
                for _ in 0..20 {
                    let [ids, mask, types] = sentences.views();
                    let outputs = model.run(ids, mask, types).unwrap();
                    assert_eq!(bits(outputs.last_hidden_state.data()), expected[0]);
                }
            });
        }
    });
}
