//! Games whose true distribution is known: who wins is nobody.

use veridical::methods::game::{Batch, Examples, HeldOut, Phase, Player, Truth};
use veridical::methods::kdgan::{Distillation, Kdgan, Lesson, Logits, Move, Objective, Players};
use veridical::nn::{LayerInit, Linear};
use veridical::players::Exact;
use veridical::train::{TrainOptions, Trained};
use veridical::{Device, Result, Tensor, Var};

/// p_u(y|x) of four x.
const TRUTH: [[f32; 3]; 4] = [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.05, 0.15, 0.8]];

/// All x at once, so that nothing is left to chance.
#[derive(Debug)]
struct Table(HeldOut);

impl Table {
    fn new() -> Self {
        let x = Self::x().unwrap();
        Table(HeldOut { student: x.clone(), teacher: x, truth: Truth::Class(vec![0, 1, 2, 2]) })
    }

    fn x() -> Result<Tensor> {
        let x: Vec<f32> = (0..16).map(|i| f32::from(u8::from(i % 5 == 0))).collect();
        Tensor::from_slice(&x, [4, 4], &Device::Cpu)
    }

    fn truth() -> Result<Tensor> {
        Tensor::from_slice(TRUTH.as_flattened(), [4, 3], &Device::Cpu)
    }
}

impl Examples for Table {
    fn labels(&self) -> usize {
        3
    }

    fn count(&self) -> usize {
        4
    }

    fn batch(&mut self, _: u32, _: u64, _: bool) -> Result<Batch> {
        let x = Table::x()?;
        Ok(Batch { student: x.clone(), teacher: x, truth: Table::truth()? })
    }

    fn held_out(&self) -> &HeldOut {
        &self.0
    }

    fn fingerprint(&self) -> String {
        "a table".into()
    }
}

/// A number for each x and label.
fn table(lr: f64, seed: u64) -> Result<Player> {
    Player::new("table", &Device::Cpu, TrainOptions::adam(lr, seed), |scope| {
        Ok(Box::new(Linear::without_bias(scope, 4, 3, LayerInit::Normal(0.5))) as _)
    })
}

fn objective(alpha: f64) -> Objective {
    Objective {
        alpha,
        adversarial: [alpha, 1.0 - alpha],
        beta: 0.1,
        gamma: 0.1,
        supervised: 0.0,
        distillation: Distillation::LogitL2,
        estimator: Box::new(Exact),
        samples: 0,
    }
}

fn logits(game: &Kdgan) -> Result<Logits> {
    let x = Table::x()?;
    let Players { student, teacher, discriminator } = game.networks();
    Ok(Logits {
        student: student.fixed_logits(&x)?,
        teacher: teacher.as_ref().unwrap().fixed_logits(&x)?,
        discriminator: discriminator.as_ref().unwrap().fixed_logits(&x)?,
    })
}

fn play(rounds: u64, moves: &[Move], objective: &dyn Fn() -> Objective, check: impl FnOnce(&Kdgan)) {
    let players = Players {
        student: table(0.01, 1).unwrap(),
        teacher: Some(table(0.01, 2).unwrap()),
        discriminator: Some(table(0.03, 3).unwrap()),
    };
    let mut examples = Table::new();
    let phases = vec![Phase { rounds, moves: moves.to_vec() }];
    let mut game = Kdgan::new(players, |_| Ok(objective()), &mut examples, phases).unwrap();
    for _ in 0..game.total() {
        game.step(&mut ()).unwrap();
    }
    check(&game);
}

fn probabilities(logits: &Var) -> Vec<f32> {
    logits.softmax().unwrap().value().to_vec().unwrap()
}

const JUDGE: Move = Move::Discriminator { pretraining: false };

#[test]
fn student_and_teacher_come_to_the_truth_and_the_discriminator_to_one_half() {
    let round = [JUDGE, JUDGE, JUDGE, JUDGE, Move::Teacher(Lesson::Game), Move::Student(Lesson::Game)];
    play(2500, &round, &|| objective(0.5), |game| {
        let logits = logits(game).unwrap();
        for (name, player) in [("student", &logits.student), ("teacher", &logits.teacher)] {
            for (found, expected) in probabilities(player).iter().zip(TRUTH.as_flattened()) {
                assert!((found - expected).abs() < 0.02, "{name}: {found}, the truth is {expected}");
            }
        }
        let value = objective(0.5).value(&logits, &Table::truth().unwrap().into()).unwrap();
        assert!((value.value + 4f64.ln()).abs() < 2e-3, "{value:?}");
        assert!((value.real - 0.5).abs() < 0.02 && (value.fake - 0.5).abs() < 0.02, "{value:?}");
    });
}

/// Against players that stand still the best discriminator is `p_u / (p_u + p_alpha)`, and the value then `-log 4` plus
/// twice the Jensen-Shannon divergence of the two.
#[test]
fn the_best_discriminator_is_the_ratio_of_the_laws() {
    let alpha = 0.3;
    play(6000, &[JUDGE], &|| objective(alpha), |game| {
        let logits = logits(game).unwrap();
        let (student, teacher) = (probabilities(&logits.student), probabilities(&logits.teacher));
        let judged: Vec<f32> = logits.discriminator.sigmoid().unwrap().value().to_vec().unwrap();
        let mut expected_value = -4f64.ln();
        for (i, &truth) in TRUTH.as_flattened().iter().enumerate() {
            let mixed = alpha as f32 * student[i] + (1.0 - alpha as f32) * teacher[i];
            let best = truth / (truth + mixed);
            assert!((judged[i] - best).abs() < 2e-3, "{i}: {} for {best}", judged[i]);
            let middle = 0.5 * (truth + mixed);
            let divergence = truth * (truth / middle).ln() + mixed * (mixed / middle).ln();
            expected_value += f64::from(divergence) / 4.0;
        }
        let value = objective(alpha).value(&logits, &Table::truth().unwrap().into()).unwrap().value;
        assert!((value - expected_value).abs() < 1e-4, "{value} {expected_value}");
    });
}
