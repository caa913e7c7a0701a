use super::*;

const CPU: Device = Device::Cpu;

#[test]
fn views_share_and_writes_copy() {
    let a = Tensor::from_slice(&[1f32, 2., 3., 4., 5., 6.], [3, 2], &CPU).unwrap();
    let mut row = a.narrow(1, 1).unwrap();
    assert_eq!(row.as_slice::<f32>().unwrap(), [3., 4.]);
    row.as_mut_slice::<f32>().unwrap()[0] = 9.;
    assert_eq!(row.to_vec::<f32>().unwrap(), [9., 4.]);
    assert_eq!(a.to_vec::<f32>().unwrap(), [1., 2., 3., 4., 5., 6.]);
}

#[test]
fn a_unique_tensor_is_written_in_place() {
    let mut a = Tensor::zeros([4], DType::F32, &CPU).unwrap();
    let before = a.as_slice::<f32>().unwrap().as_ptr();
    a.as_mut_slice::<f32>().unwrap()[3] = 1.;
    assert_eq!(a.as_slice::<f32>().unwrap().as_ptr(), before);
    assert_eq!(a.to_f64().unwrap(), [0., 0., 0., 1.]);
}

#[test]
fn wrong_use_is_an_error_that_says_what_to_do() {
    let a = Tensor::zeros([2, 3], DType::F32, &CPU).unwrap();
    let text = |r: Result<Tensor>| r.unwrap_err().to_string();
    assert_eq!(text(a.reshape([7])), "reshape: expected a shape of 6 elements, got [7]");
    assert!(text(a.narrow(1, 2)).contains("of an axis of 2"));
    assert!(a.to_vec::<f64>().unwrap_err().to_string().contains("cast"));
    assert!(a.item().is_err());
    assert!(Tensor::from_slice(&[1f32], [2], &CPU).is_err());
    assert!(Tensor::zeros([usize::MAX, usize::MAX], DType::F32, &CPU).is_err());
}

#[test]
fn empty_tensors_and_scalars_exist() {
    let none = Tensor::zeros([0, 3], DType::F32, &CPU).unwrap();
    assert!(none.is_empty() && none.to_vec::<f32>().unwrap().is_empty());
    assert_eq!(Tensor::scalar(2.5, DType::BF16, &CPU).unwrap().item().unwrap(), 2.5);
}
